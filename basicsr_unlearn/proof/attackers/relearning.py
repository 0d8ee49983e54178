"""How fast a forgotten skill comes back when a network is fine-tuned on a few forget pairs.

A retrained network learns it too, from what it can do otherwise. So only the lead over retrained networks, at equal
steps, shows that the skill was still there.
"""
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from basicsr_unlearn.core.relearning import relearn
from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.attackers.scores import Pairs, check_pairs, device_of
from basicsr_unlearn.proof.attackers.statistics import area_between, check_equal_steps

Measure = Callable[[nn.Module], Sequence[float]]  # a value for each image, such as partial(psnr_of_images, pairs=test)
Curve = dict[int, list[list[float]]]  # step -> seed -> image


def relearning_curve(net: nn.Module, pairs: Pairs, measure: Measure, steps: Sequence[int], lr: float, patch: int,
                     seeds: Sequence[int] = (0,)) -> Curve:
    """Fine-tune a copy of the network for each seed and measure it at the given steps, see `unlearning.relearning`.

    Args:
        net: left as it is.
        pairs: the forget pairs to learn from, each at least a patch in size.
        measure: value of each test image for a network in eval mode, in dB.
        steps: whole numbers from 0, at which to measure; 0 is the network itself.
        lr: learning rate of Adam.
        patch: side of a clean patch in pixels.
        seeds: of patches and of whatever the network draws in training; the global generators are left as they are.

    Returns:
        The values of all images, by step and seed.

    Raises:
        DataError: no pair is given, or a pair is smaller than the patch.
        ValueError: no step or no seed is given, or a step is below 0.
    """
    check_pairs(pairs)
    for position, (_, gt) in enumerate(pairs):
        if min(gt.shape[-2:]) < patch:
            raise DataError(f'Relearning pair {position} is {gt.shape[-2]}x{gt.shape[-1]} pixels, smaller than the '
                            f'patch of {patch}: use a smaller patch.')
    if not steps or min(steps) < 0 or not seeds:
        raise ValueError(f'Relearning needs steps from 0 and a seed, not steps {list(steps)} and seeds {list(seeds)}.')
    curve: Curve = {step: [] for step in sorted(steps)}
    for seed in seeds:
        with seeded(seed, device_of(net)):
            found = relearn(net, pairs, steps, lr, patch, measure, seed)
        for step, values in found.items():
            curve[step].append([float(value) for value in values])
    return curve


def mean_curve(curve: Curve) -> dict[int, float]:
    """Mean over seeds and images by step."""
    return {step: float(np.mean(values)) for step, values in curve.items()}


def best_curve(retrained: Sequence[Curve]) -> dict[int, float]:
    """The highest of the retrained networks' mean curves at each step.

    Raises:
        ValueError: there is none, or they were measured at different steps.
    """
    if not retrained:
        raise ValueError('There is no curve of a retrained network to compare with.')
    means = [mean_curve(curve) for curve in retrained]
    for mean in means[1:]:
        check_equal_steps(means[0], mean)
    return {step: max(mean[step] for mean in means) for step in means[0]}


def relearn_gap(curve: Curve, retrained: Sequence[Curve]) -> float:
    """The largest lead, at equal steps, over the best of the retrained networks in dB; 0 if there is none.

    Step 0, if it is one of the steps, counts too: there the lead is the one before any learning.

    Raises:
        ValueError: there is no curve to compare with, or the steps differ.
    """
    mean, best = mean_curve(curve), best_curve(retrained)
    check_equal_steps(mean, best)
    return max(0.0, *(mean[step] - best[step] for step in best))


def relearn_area(curve: Curve, retrained: Sequence[Curve], axis: str = 'log') -> float:
    """Mean lead over the best of the retrained networks in dB, below 0 if behind; see `statistics.area_between`."""
    return area_between(mean_curve(curve), best_curve(retrained), axis)


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
