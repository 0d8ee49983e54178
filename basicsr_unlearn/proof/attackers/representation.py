"""What unlearning did to the features on the way to the output: how alike they are, and what brings the skill back."""
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from basicsr_unlearn.core.features import captured, named_stages
from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.proof.attackers.image_psnr import Pairs, check_pairs, device_of, psnr_of_images

ROWS = 4096  # positions compared in each layer, our choice


def linear_cka(x: Tensor, y: Tensor) -> float | None:
    """Linear centred kernel alignment of two feature matrices, by the unbiased estimator.

    1 for features that are equal up to rotation, scale and shift, about 0 for independent ones, also where there are
    more features than rows (the usual, biased estimator tends to 1 there). May be slightly below 0.

    Args:
        x: (n, p), one row per sample.
        y: (n, q), of the same samples.

    Returns:
        At most 1; None where it is undefined, since one of them is constant over the samples.

    Raises:
        ValueError: different numbers of rows, or fewer than 4.

    Source: Kornblith et al., ICML 2019 (arXiv 1905.00414), section 3, with the unbiased HSIC of Song et al., JMLR 2012,
    as Nguyen et al. (arXiv 2010.15327) use it.
    """
    if len(x) != len(y) or len(x) < 4:
        raise ValueError(f'CKA needs 4 rows or more of the same samples, not {len(x)} and {len(y)}.')
    x, y = (_standardised(features.double()) for features in (x, y))
    if x is None or y is None:
        return None
    own_x, own_y = _unbiased_hsic(x, x), _unbiased_hsic(y, y)
    if min(own_x, own_y) < 1e-12:  # all rows but one are equal
        return None
    return _unbiased_hsic(x, y) / (own_x * own_y)**0.5


def layerwise_cka(first: nn.Module, second: nn.Module, lq: Sequence[Tensor], layers: Sequence[str] | None = None,
                  seed: int = 0) -> dict[str, float | None]:
    """Linear CKA between two networks of one architecture in each layer, a sample being one position of one image.

    Args:
        first, second: run in eval mode, left as they were.
        lq: images (c, h, w) of any sizes.
        layers: see `unlearning.features.named_stages`; None takes the stages of known encoders.
        seed: of the positions, up to 4096 in all and equally many of each image.

    Returns:
        CKA by layer in the network's order, see `linear_cka`.

    Raises:
        ValueError: a pattern fits no module, or a layer gives too few positions.
        DataError: no image is given.
    """
    generator, gathered = torch.Generator().manual_seed(seed), {}
    for image in _checked(lq):
        pair = [_features(net, image, layers) for net in (first, second)]
        for layer, features in pair[0].items():
            rows = [found.flatten(2)[0].T.cpu() for found in (features, pair[1][layer])]
            positions = torch.randperm(len(rows[0]), generator=generator)[:max(ROWS // len(lq), 1)]
            gathered.setdefault(layer, []).append([part[positions] for part in rows])
    return {layer: linear_cka(*map(torch.cat, zip(*parts))) for layer, parts in gathered.items()}


def restoration_gain(net: nn.Module, original: nn.Module, lq: Sequence[Tensor], layers: Sequence[str] | None,
                     test: Pairs) -> dict[str, list[float]]:
    """PSNR that comes back when the mean feature difference to the original is added in one layer, in dB by test image.

    The difference original - net, on the forget set, is averaged over images and positions to one number per channel,
    and added to the layer's output at inference. A high gain says that the skill was switched off before this layer and
    still sleeps behind it.

    Args:
        net: the unlearned network, or a retrained one for comparison; left as it was.
        original: of the same architecture.
        lq: degraded images (c, h, w) of the forget set.
        layers: see `unlearning.features.named_stages`, each tried by itself; their outputs are (b, c, h, w).
        test: pairs to score.

    Returns:
        The gain of each test image by layer.

    Raises:
        ValueError: a pattern fits no module.
        DataError: no image is given.

    Source: the suppression test of the unlearning literature, which adds features of sparse autoencoders; the mean
    difference instead: our choice.
    """
    stages = named_stages(net, layers)
    differences: dict[str, list[Tensor]] = {name: [] for name in stages}
    for image in _checked(lq):
        before, after = (_features(one, image, layers) for one in (original, net))
        for name in stages:
            differences[name].append((before[name].double() - after[name].double()).mean((0, 2, 3)).cpu())
    before, gains = psnr_of_images(net, test), {}
    for name, stage in stages.items():
        with _added(stage, torch.stack(differences[name]).mean(0)):
            gains[name] = np.subtract(psnr_of_images(net, test), before).tolist()
    return gains


@contextmanager
def _added(layer: nn.Module, difference: Tensor) -> Iterator[None]:
    handle = layer.register_forward_hook(lambda _, __, output: output + difference.to(output).view(1, -1, 1, 1))
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def _features(net: nn.Module, image: Tensor, layers: Sequence[str] | None) -> dict[str, Tensor]:
    with eval_mode(net), captured(net, layers) as features:
        net(image[None].to(device_of(net)))
    for name, found in features.items():
        if found.dim() != 4:
            raise ValueError(f"layers: '{name}' gives shape {tuple(found.shape)} instead of (b, c, h, w).")
    return features


def _checked(lq: Sequence[Tensor]) -> Sequence[Tensor]:
    check_pairs(lq)
    return lq


def _standardised(features: Tensor) -> Tensor | None:
    """Rows of mean 0 and mean square 1, which changes CKA by rounding only; None where nothing but rounding varies."""
    centred = features - features.mean(0)
    square, size = (part.square().sum(1).mean() for part in (centred, features))
    return centred / square.sqrt() if square > 1e-24 * size else None


def _unbiased_hsic(x: Tensor, y: Tensor) -> float:
    """For the kernels x x^T and y y^T, without building these n x n matrices."""
    n = len(x)
    # sums of the rows of both kernels without their diagonals
    diagonals = [features.square().sum(1) for features in (x, y)]
    rows = [features @ features.sum(0) - diagonal for features, diagonal in zip((x, y), diagonals)]
    trace = (x.T @ y).square().sum() - diagonals[0] @ diagonals[1]
    value = trace + rows[0].sum() * rows[1].sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (rows[0] @ rows[1])
    return float(value / (n * (n - 3)))
