"""Any image size for networks that halve their input several times."""
from torch import Tensor
from torch.nn import functional as F

from basicsr_unlearn.errors import DataError


def pad_to_multiple(image: Tensor, multiple: int, network: str) -> Tensor:
    """Mirror an image at its right and lower border up to the next multiple; as it is where it fits.

    Args:
        image: (b, c, h, w).
        multiple: of height and width, in pixels.
        network: its name, for the error.

    Raises:
        DataError: the image is too small to be mirrored.
    """
    height, width = image.shape[2:]
    bottom, right = -height % multiple, -width % multiple
    if bottom >= height or right >= width:
        raise DataError(f'An image of {width}x{height} pixels is too small for {network}, which mirrors it up to a '
                        f'multiple of {multiple}: use images of at least {multiple // 2 + 1} pixels a side.')
    return F.pad(image, (0, right, 0, bottom), mode='reflect') if bottom or right else image


def crop(image: Tensor, like: Tensor) -> Tensor:
    """The upper left part of `image` that is as high and wide as `like`."""
    return image[:, :, :like.shape[2], :like.shape[3]]
