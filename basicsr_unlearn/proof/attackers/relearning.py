"""How fast a forgotten skill comes back: fine-tuning on a few forget pairs, with the score on the way.

A retrained network learns it too, from what it can do otherwise. So only the lead over retrained networks, at equal
steps, shows that the skill was still there: see `core.leads`.
"""
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import TypeVar

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_choice
from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.attackers.image_psnr import Pairs, check_pairs, device_of

LEARNERS = {  # betas are BasicSR's usual ones
    'adam': lambda parameters, lr: torch.optim.Adam(parameters, lr=lr, betas=(0.9, 0.99)),
    'sgd': lambda parameters, lr: torch.optim.SGD(parameters, lr=lr, momentum=0.9),
}
Measured = TypeVar('Measured')


def relearn(net: nn.Module, pairs: Pairs, steps: Sequence[int], lr: float, patch: int,
            measure: Callable[[nn.Module], Measured], seed: int = 0, optimizer: str = 'adam',
            trains: Mapping[str, Tensor] | None = None, batch: int | None = None) -> dict[int, Measured]:
    """Fine-tune a copy of a network on a few pairs by L1, and measure it at the given steps.

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
        optimizer: 'adam', or 'sgd' with momentum 0.9.
        trains: mask by parameter name, true or above 0 where a weight is trained; the network then runs in eval mode.
            None for all weights.
        batch: at most so many pairs a step, drawn at random; None for all.

    Returns:
        What was measured, by step.

    Raises:
        DataError: no pair is given, or a pair is smaller than the patch.
        ValueError: no step is given, or one is below 0; the optimizer is not known; the mask lets no weight train.
    """
    check_pairs(pairs)
    check_patches(pairs, patch)
    check_choice('optimizer', optimizer, LEARNERS)
    if not steps or min(steps) < 0:
        raise ValueError(f'Relearning needs steps from 0, not steps {list(steps)}.')
    tuned = deepcopy(net)
    chosen = _let_train(tuned, trains)
    updates = LEARNERS[optimizer](chosen, lr)
    generator = torch.Generator().manual_seed(seed)
    device, curve = device_of(tuned), {}
    with seeded(seed, device):
        for step in range(max(steps) + 1):
            if step in steps:
                with torch.no_grad():
                    curve[step] = measure(tuned.eval())
            if step < max(steps):
                tuned.train(trains is None)
                lq, gt = (part.to(device) for part in patches(_drawn(pairs, batch, generator), patch, generator))
                updates.zero_grad(set_to_none=True)
                (tuned(lq) - gt).abs().mean().backward()
                if trains is not None:
                    _keep(tuned, trains)
                updates.step()
    return curve


def check_patches(pairs: Pairs, patch: int) -> None:
    """Raise DataError if a clean image is smaller than the patch."""
    for position, (_, gt) in enumerate(pairs):
        if min(gt.shape[-2:]) < patch:
            raise DataError(f'Relearning pair {position} is {gt.shape[-2]}x{gt.shape[-1]} pixels, smaller than the '
                            f'patch of {patch}: use a smaller patch.')


def _let_train(net: nn.Module, trains: Mapping[str, Tensor] | None) -> list[nn.Parameter]:
    """Parameters with a weight that is trained; all others are frozen."""
    for name, p in net.named_parameters():
        p.requires_grad_(trains is None or (name in trains and bool((trains[name] > 0).any())))
    found = [p for p in net.parameters() if p.requires_grad]
    if not found:
        raise ValueError('Relearning needs a weight that may train, but the mask lets none.')
    return found


def _keep(net: nn.Module, trains: Mapping[str, Tensor]) -> None:
    """Take the gradient from weights that are not trained: neither optimizer then moves them."""
    for name, p in net.named_parameters():
        if p.grad is not None:
            p.grad *= (trains[name] > 0).to(p)


def _drawn(pairs: Pairs, batch: int | None, generator: torch.Generator) -> Pairs:
    if batch is None or batch >= len(pairs):
        return pairs
    return [pairs[i] for i in torch.randperm(len(pairs), generator=generator)[:batch].tolist()]


def patches(pairs: Pairs, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """One random, perhaps mirrored patch of each pair, (b, c, size / scale, size / scale) and (b, c, size, size)."""
    lq, gt = zip(*(_patch(*pair, size, generator) for pair in pairs))
    return torch.stack(lq), torch.stack(gt)


def _patch(lq: Tensor, gt: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    scale = gt.shape[-1] // lq.shape[-1]
    side = size // scale
    top, left, mirrored = (int(torch.randint(high, (1,), generator=generator))
                           for high in (lq.shape[-2] - side + 1, lq.shape[-1] - side + 1, 2))
    lq = lq[:, top:top + side, left:left + side]
    gt = gt[:, top * scale:(top + side) * scale, left * scale:(left + side) * scale]
    return (lq.flip(-1), gt.flip(-1)) if mirrored else (lq, gt)


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
