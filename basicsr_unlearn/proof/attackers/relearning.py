"""How fast a forgotten skill comes back: fine-tuning on a few forget pairs, with the score on the way.

A retrained network learns it too, from what it can do otherwise. So only the lead over retrained networks, at equal
steps, shows that the skill was still there: see `core.judgement.leads`.
"""
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.attackers.image_psnr import Pairs, check_pairs, device_of

BETAS = (0.9, 0.99)  # of Adam; BasicSR's usual ones
Measured = TypeVar('Measured')
EachImage = Callable[[nn.Module], Sequence[float]]  # a value for each, such as partial(psnr_of_images, pairs=test)
Curve = dict[int, list[list[float]]]  # step -> seed -> image


def relearn(net: nn.Module, pairs: Pairs, steps: Sequence[int], lr: float, patch: int,
            measure: Callable[[nn.Module], Measured], seed: int = 0) -> dict[int, Measured]:
    """Fine-tune a copy of a network on all of a few pairs at once, by L1 and Adam, and measure it at the given steps.

    Equal seeds show every network the same patches, so that curves of two networks can be compared step by step.
    Source: the Anamnesis index (Zero-shot machine unlearning, arXiv 2201.05629), which compares relearn times with a
    retrained network's; scores after fixed steps in place of the time to a threshold are our choice.

    Args:
        net: left as it is.
        pairs: degraded and clean images (c, h, w) and (c, h * scale, w * scale), values in [0, 1], each at least
            `patch / scale` and `patch` a side; a step takes one random, perhaps mirrored patch of each.
        steps: whole numbers from 0, after which to measure; 0 is the network itself.
        lr: learning rate, constant.
        patch: side of a clean patch in pixels.
        measure: of a network in eval mode, for instance its PSNR in dB on a test set.
        seed: of the patches and of whatever the network draws in training; the global generators are left as they are.

    Returns:
        What was measured, by step.

    Raises:
        DataError: no pair is given, or a pair is smaller than the patch.
        ValueError: no step is given, or one is below 0.
    """
    check_pairs(pairs)
    for position, (_, gt) in enumerate(pairs):
        if min(gt.shape[-2:]) < patch:
            raise DataError(f'Relearning pair {position} is {gt.shape[-2]}x{gt.shape[-1]} pixels, smaller than the '
                            f'patch of {patch}: use a smaller patch.')
    if not steps or min(steps) < 0:
        raise ValueError(f'Relearning needs steps from 0, not steps {list(steps)}.')
    tuned = deepcopy(net).requires_grad_(True)
    optimizer = torch.optim.Adam(tuned.parameters(), lr=lr, betas=BETAS)
    generator = torch.Generator().manual_seed(seed)
    device, curve = device_of(tuned), {}
    with seeded(seed, device):
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


def relearning_curve(net: nn.Module, pairs: Pairs, measure: EachImage, steps: Sequence[int], lr: float, patch: int,
                     seeds: Sequence[int] = (0,)) -> Curve:
    """`relearn` for each seed: the values of all images, by step and seed.

    Raises:
        DataError, ValueError: see `relearn`; no seed is given.
    """
    if not seeds:
        raise ValueError('Relearning needs a seed.')
    found = [relearn(net, pairs, steps, lr, patch, measure, seed) for seed in seeds]
    return {step: [[float(value) for value in curve[step]] for curve in found] for step in sorted(steps)}


def mean_curve(curve: Curve) -> dict[int, float]:
    """Mean over seeds and images by step."""
    return {step: float(np.mean(values)) for step, values in curve.items()}


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """torch's generators on the CPU and on `device` seeded inside the block, and as they were afterwards."""
    gpu = [device] if device.type == 'cuda' else []
    with torch.random.fork_rng(gpu):
        torch.default_generator.manual_seed(seed)
        for one in gpu:
            with torch.cuda.device(one):
                torch.cuda.manual_seed(seed)
        yield
