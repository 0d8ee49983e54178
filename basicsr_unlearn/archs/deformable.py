"""Modulated deformable convolution (Deformable ConvNets v2, Zhu et al., CVPR 2019, arXiv 1811.11168, equation 1)."""
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

try:
    from torchvision.ops import deform_conv2d
except (ImportError, RuntimeError):  # absent, or built for another version of PyTorch
    deform_conv2d = None

PIXELS = 2**16  # output pixels at a time (our choice): 150 MB of samples at 64 channels


def modulated_deform_conv(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """A 3x3 convolution whose nine samples of each output pixel are shifted and scaled; stride 1, zero outside.

    On a GPU it is torchvision's operator, if that is installed; else `gathered_deform_conv`, which on a CPU is several
    times as fast. Both work in at least single precision, as positions do not survive less.

    Args:
        x: (b, c, h, w), any size.
        offset: (b, 18, h, w), pixels: (dy, dx) for each position of the kernel, row by row.
        mask: (b, 9, h, w), the factor of each position.
        weight: (c_out, c, 3, 3).

    Returns:
        (b, c_out, h, w). A sample between pixels is bilinear.
    """
    dtype = torch.promote_types(x.dtype, torch.float32)
    with torch.autocast(x.device.type, enabled=False):
        x, offset, mask, weight = (tensor.to(dtype) for tensor in (x, offset, mask, weight))
        if x.is_cuda and deform_conv2d is not None:
            return torchvision_deform_conv(x, offset, mask, weight)
        return gathered_deform_conv(x, offset, mask, weight)


def torchvision_deform_conv(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """`modulated_deform_conv` by torchvision's operator, where that can be imported."""
    return deform_conv2d(x, offset, weight, padding=1, mask=mask)


def gathered_deform_conv(x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor) -> Tensor:
    """`modulated_deform_conv` in plain PyTorch, on any device, a band of the image at a time.

    Only the arguments are kept for the backward pass, which gathers the samples again: they take nine times the memory
    of `x` and more.
    """
    height, width = x.shape[2:]
    pixels = x.permute(0, 2, 3, 1).flatten(0, 2)  # a row each, so that one read fetches all channels
    band = max(1, PIXELS // (len(x) * width))
    bands = [checkpoint(_band, pixels, offset[:, :, top:top + band], mask[:, :, top:top + band], weight, height, top,
                        use_reentrant=False, preserve_rng_state=False) for top in range(0, height, band)]
    return torch.cat(bands, 1).permute(0, 3, 1, 2).contiguous()


def _band(pixels: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, height: int, top: int) -> Tensor:
    """Rows `top` and on of the output, (b, rows, w, c_out); `height` is the whole image's."""
    batch, _, rows, width = mask.shape
    corners, shares = _corners(offset, mask, height, top)
    samples = F.embedding_bag(corners, pixels, per_sample_weights=shares, mode='sum')
    kernel = weight.permute(2, 3, 1, 0).flatten(0, 2)
    return (samples.view(-1, len(kernel)) @ kernel).view(batch, rows, width, -1)


def _corners(offset: Tensor, mask: Tensor, height: int, top: int) -> tuple[Tensor, Tensor]:
    """The four pixels around each sampling point, by their number in the batch, and how much each counts.

    Both (b * rows * w * 9, 4). A pixel outside counts 0.
    """
    batch, _, rows, width = mask.shape
    device = mask.device
    dy, dx = offset.view(batch, 9, 2, rows, width).permute(2, 0, 3, 4, 1)
    steps = torch.arange(-1, 2, device=device)
    y = dy + (torch.arange(top, top + rows, device=device).view(-1, 1, 1) + steps.repeat_interleave(3))
    x = dx + (torch.arange(width, device=device).view(-1, 1) + steps.repeat(3))
    above, left = y.floor(), x.floor()
    down, right = y - above, x - left
    line = torch.stack([above, above, above + 1, above + 1], -1)
    column = torch.stack([left, left + 1, left, left + 1], -1)
    shares = torch.stack([(1 - down) * (1 - right), (1 - down) * right, down * (1 - right), down * right], -1)
    inside = (line >= 0) & (line < height) & (column >= 0) & (column < width)
    first = torch.arange(batch, device=device).view(-1, 1, 1, 1, 1) * (height * width)
    corners = first + (line.long() * width + column.long()).where(inside, 0)  # no number where an offset is NaN
    shares = (shares * mask.permute(0, 2, 3, 1).unsqueeze(-1)).where(inside, 0)
    return corners.flatten(0, 3), shares.flatten(0, 3)
