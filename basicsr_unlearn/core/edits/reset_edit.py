"""Give weights back the values of an untrained network, so that what they knew is gone."""
from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_choice, check_share, check_whole
from basicsr_unlearn.core.granularity import Granularity, highest_ratio, is_vector
from basicsr_unlearn.core.hints import Count, Seed, Share
from basicsr_unlearn.core.importance import fisher, highest_share, mean_gradient, output_sensitivity
from basicsr_unlearn.core.inverses import check_attack, each_alone
from basicsr_unlearn.core.layers import convolution_weights, layers_in_order
from basicsr_unlearn.core.parts import EDITS, Edit, Evidence, Start, live_parameters, registered_in
from basicsr_unlearn.core.reset_inverses import mixed_back, nearest_to_untrained
from basicsr_unlearn.core.samples import Batch, one_sample
from basicsr_unlearn.errors import OptionError


@torch.no_grad()
def reset(net: nn.Module, untrained: nn.Module, chosen: dict[str, Tensor], fresh: float = 1.0) -> None:
    """w <- (1 - fresh) w + fresh w_untrained where chosen; everything else keeps its bits.

    Args:
        net: changed in place.
        untrained: a network of the same architecture; not changed.
        chosen: bool tensors by parameter name; a parameter that is not in stays as it is.
        fresh: how much of the untrained weight comes in, in [0, 1].

    >>> net, fresh = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)
    >>> reset(net, fresh, {'bias': torch.tensor([True])})
    >>> bool(net.bias == fresh.bias), bool(net.weight == fresh.weight)
    (True, False)
    """
    start = dict(untrained.named_parameters())
    for name, p in net.named_parameters():
        if name in chosen:
            p.copy_(torch.where(chosen[name], p.lerp(start[name].to(p), fresh), p))


def smallest_difference(net: nn.Module, evidence: Evidence, share: float) -> dict[str, Tensor]:
    """True for the share of each convolution's weights with the smallest |g_r - g_f|: see `ResetSmallestGradient`.

    >>> net, batch = nn.Conv2d(1, 1, 2), {'lq': torch.rand(1, 1, 5, 5), 'gt': torch.rand(1, 1, 4, 4)}
    >>> int(smallest_difference(net, Evidence(net, [batch], [batch]), 0.5)['weight'].sum())
    2
    """
    forget, retain = (mean_gradient(net, batches, evidence.error) for batches in (evidence.forget, evidence.retain))
    return highest_share({name: -(retain[name] - forget[name]).abs() for name in convolution_weights(net)}, share,
                         per_layer=True)


@registered_in(EDITS)
class ResetByFisher(Edit):
    """Reset the weights with the highest ratio of their Fisher information on the forget to that on the retain batches.

    The rest is then to be brought back by training on other data than the forget set: see
    options/unlearn_haze_deep.yml. Our own method. Whole channels instead of single weights, as structured pruning takes
    them (Li et al., ICLR 2017): our choice.

    What was reset is not there to be brought back. An attacker finds the weights by their nearness to the untrained
    network, or by measuring again, and trains them alone, or all others; with `fresh` below 1 he takes the untrained
    part out again.

    Args:
        share: of the weights, in (0, 1].
        fresh: how much of the untrained weight comes in, in (0, 1].
        per_layer: the share of each tensor instead of all tensors together.
        skip_vectors: leave biases, normalisation weights and scales as they are: all parameters that are vectors.
            Some architectures start scales at 0, which switches a block off.
        seed: of the untrained network; None for one that `manual_seed` sets. The seed of the original's own training
            rewinds: weights go back to their values before it, which hold nothing of any image, and the rest is learned
            back sooner.
        granularity: what is reset as a whole: 'weight', 'channel', an output channel of a layer with its bias, or
            'layer'; see `units`. By channel and layer it comes as near to the share as whole ones can.
        of: 'error': the Fisher information of the error. 'output_difference': instead of it, the mean absolute gradient
            of the size of what the network adds to its input (see `output_sensitivity`), which is what a skill does,
            whether well or not.

    Raises:
        ValueError: an argument is out of range, or per_layer is set with granularity 'layer'.
    """

    needs = ('forget', 'retain')

    def __init__(self, share: Share = 0.3, fresh: Share = 1.0, per_layer: bool = False, skip_vectors: bool = False,
                 seed: Seed | None = None, granularity: Granularity = 'weight',
                 of: Literal['error', 'output_difference'] = 'error'):
        check_share('share', share)
        check_share('fresh', fresh)
        _check_seed(seed)
        check_choice('granularity', granularity, get_args(Granularity))
        check_choice('of', of, ('error', 'output_difference'))
        if per_layer and granularity == 'layer':
            raise ValueError("per_layer has no share of a layer to take with granularity 'layer', which resets whole "
                             'ones: take it out.')
        self.share, self.fresh, self.per_layer, self.skip_vectors, self.seed = (
            share, fresh, per_layer, skip_vectors, seed)
        self.granularity, self.of = granularity, of

    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        reset(net, evidence.untrained(self.seed), self.chosen(evidence), self.fresh)

    def attack(self, evidence: Evidence) -> list[Start]:
        check_attack(self, evidence, 'forget', 'retain', 'untrained')
        chosen = self.chosen(evidence)
        if self.fresh < 1:  # nearness to the untrained network then tells little
            return [mixed_back(evidence, self.seed, chosen, self.fresh),
                    *each_alone(chosen, 'weights of high ratio', evidence)]
        found = nearest_to_untrained(evidence, self.seed, list(chosen), self.share, self.granularity, self.per_layer)
        return [*each_alone(found, 'weights found reset', evidence),
                *each_alone(chosen, 'weights of high ratio', evidence)[:1]]

    def chosen(self, evidence: Evidence) -> dict[str, Tensor]:
        """True for each weight of the teacher that is reset; parameters of which none can be are not in."""
        names = [name for name, p in live_parameters(evidence.teacher) if not (self.skip_vectors and is_vector(p))]
        forget, retain = ({name: values[name] for name in names} for values in (
            self._importance(evidence, batches) for batches in (evidence.forget, evidence.retain)))
        return highest_ratio(forget, retain, self.share, self.granularity, self.per_layer)

    def _importance(self, evidence: Evidence, batches: Sequence[Batch]) -> dict[str, Tensor]:
        if self.of == 'output_difference':
            return output_sensitivity(evidence.teacher, batches, run=evidence.run)
        return fisher(evidence.teacher, batches, evidence.error)


@registered_in(EDITS)
class ResetSmallestGradient(Edit):
    """Reset the convolution weights w with the smallest |g_r - g_f|, the share of each layer.

    g_r and g_f are the mean gradients of the loss on the retain and on the forget batches: where they are small or
    cancel out, weights serve both sets alike.

    What was reset is not there to be brought back; an attacker trains what he finds near the untrained network alone,
    or all others.

    Args:
        share: of the weights of each Conv2d layer, in (0, 1].
        seed: of the untrained network; None for one that `manual_seed` sets.

    Raises:
        ValueError: an argument is out of range.

    Source: MSG, team Kookmin University, second of the NeurIPS 2023 machine unlearning challenge, as in
    xcadet/deepunlearn: share 0.3, sums over equally many samples, Kaiming normal values. Those of the architecture's
    own initialisation instead: our choice. In training that follows, MSG slows the other weights down to a tenth: see
    `SmallestGradientMask`.
    """

    needs = ('forget', 'retain')

    def __init__(self, share: Share = 0.3, seed: Seed | None = None):
        check_share('share', share)
        _check_seed(seed)
        self.share, self.seed = share, seed

    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        reset(net, evidence.untrained(self.seed), smallest_difference(evidence.teacher, evidence, self.share))

    def attack(self, evidence: Evidence) -> list[Start]:
        check_attack(self, evidence, 'forget', 'untrained')
        found = nearest_to_untrained(evidence, self.seed, list(convolution_weights(evidence.teacher)), self.share,
                                     per_layer=True)
        return each_alone(found, 'kernel weights found reset', evidence)


@registered_in(EDITS)
class ResetLastLayers(Edit):
    """Reset the last layers in the order of execution.

    The layers before keep what they knew: undone by training the last ones alone, on few pairs.

    Args:
        count: how many layers, at least 1; see `layers_in_order` for what a layer is.
        seed: of the untrained network; None for one that `manual_seed` sets.

    Raises:
        ValueError: an argument is out of range.
        OptionError: when called, the network has fewer layers.

    Source: EU-k, Goel et al., arXiv 2201.06640, which then trains these layers alone on the retain set.
    """

    needs = ('forget',)

    def __init__(self, count: Count = 1, seed: Seed | None = None):
        check_whole('count', count, minimum=1)
        _check_seed(seed)
        self.count, self.seed = count, seed

    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        reset(net, evidence.untrained(self.seed), self.chosen(net, evidence))

    def chosen(self, net: nn.Module, evidence: Evidence) -> dict[str, Tensor]:
        """Which weights of a network are reset, by parameter name."""
        layers = layers_in_order(net, one_sample(evidence.forget[0]), evidence.run)
        if self.count > len(layers):
            raise OptionError(f'ResetLastLayers: count is {self.count} but the network has {len(layers)} layers.')
        last = set(layers[-self.count:])
        return {name: torch.ones_like(p, dtype=torch.bool) for name, p in live_parameters(net)
                if name.rpartition('.')[0] in last}

    def attack(self, evidence: Evidence) -> list[Start]:
        check_attack(self, evidence, 'forget')
        return each_alone(self.chosen(evidence.teacher, evidence), 'last layers', evidence)


@registered_in(EDITS)
class ResetAll(Edit):
    """Mix an untrained network into all weights: w <- (1 - fresh) w + fresh w_untrained.

    Undone by who knows the seed: the untrained part is taken out again, but where fresh is 1, which leaves nothing.

    Args:
        fresh: its share, in (0, 1]; 1 starts training anew.
        seed: of the untrained network; None for one that `manual_seed` sets.

    Raises:
        ValueError: an argument is out of range.

    Source: shrink and perturb, Ash and Adams, NeurIPS 2020, with the untrained network as the noise. For unlearning,
    and with 0.6: our choice.
    """

    def __init__(self, fresh: Share = 0.6, seed: Seed | None = None):
        check_share('fresh', fresh)
        _check_seed(seed)
        self.fresh, self.seed = fresh, seed

    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        reset(net, evidence.untrained(self.seed), _all_of(net), self.fresh)

    def attack(self, evidence: Evidence) -> list[Start]:
        if self.fresh == 1:  # no weight holds anything of the original
            return []
        check_attack(self, evidence, 'forget', 'untrained')
        return [mixed_back(evidence, self.seed, _all_of(evidence.teacher), self.fresh)]



def _all_of(net: nn.Module) -> dict[str, Tensor]:
    return {name: torch.ones_like(p, dtype=torch.bool) for name, p in live_parameters(net)}


def _check_seed(seed: int | None) -> None:
    if seed is not None:
        check_whole('seed', seed)

