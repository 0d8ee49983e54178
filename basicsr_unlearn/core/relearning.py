"""How fast a forgotten skill comes back: fine-tuning on a few pairs, with the score on the way."""
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

BETAS = (0.9, 0.99)  # of Adam; BasicSR's usual ones
Measured = TypeVar('Measured')


def relearn(net: nn.Module, pairs: Sequence[tuple[Tensor, Tensor]], steps: Sequence[int], lr: float, patch: int,
            measure: Callable[[nn.Module], Measured], seed: int = 0) -> dict[int, Measured]:
    """Fine-tune a copy of a network on all of a few pairs at once, by L1 and Adam, and measure it at the given steps.

    Equal seeds show every network the same patches, so that curves of two networks can be compared step by step.
    Source: the Anamnesis index (Zero-shot machine unlearning, arXiv 2201.05629), which compares relearn times with a
    retrained network's; scores after fixed steps in place of the time to a threshold are our choice.

    Args:
        net: left as it is.
        pairs: degraded and clean images (c, h, w) and (c, h * scale, w * scale), values in [0, 1], each at least
            `patch / scale` and `patch` a side; a step takes one random, perhaps mirrored patch of each.
        steps: after which to measure, from 0.
        lr: learning rate, constant.
        patch: side of a clean patch in pixels.
        measure: of a network in eval mode, for instance its PSNR in dB on a test set.
        seed: of the patches.

    Returns:
        What was measured, by step.
    """
    tuned = deepcopy(net).requires_grad_(True)
    optimizer = torch.optim.Adam(tuned.parameters(), lr=lr, betas=BETAS)
    generator = torch.Generator().manual_seed(seed)
    device, curve = next(tuned.parameters()).device, {}
    for step in range(max(steps) + 1):
        if step in steps:
            with torch.no_grad():
                curve[step] = measure(tuned.eval())
        if step < max(steps):
            tuned.train()
            lq, gt = (torch.stack(part).to(device) for part in zip(*(_patch(*pair, patch, generator)
                                                                     for pair in pairs)))
            optimizer.zero_grad(set_to_none=True)
            (tuned(lq) - gt).abs().mean().backward()
            optimizer.step()
    return curve


def _patch(lq: Tensor, gt: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    scale = gt.shape[-1] // lq.shape[-1]
    side = size // scale
    top, left, mirrored = (int(torch.randint(high, (1,), generator=generator))
                           for high in (lq.shape[-2] - side + 1, lq.shape[-1] - side + 1, 2))
    lq = lq[:, top:top + side, left:left + side]
    gt = gt[:, top * scale:(top + side) * scale, left * scale:(left + side) * scale]
    return (lq.flip(-1), gt.flip(-1)) if mirrored else (lq, gt)
