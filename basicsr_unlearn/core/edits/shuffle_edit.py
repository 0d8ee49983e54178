"""Shuffle convolution kernels, which is no symmetry of a network."""
from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_share
from basicsr_unlearn.core.granularity import highest_ratio
from basicsr_unlearn.core.hints import Share
from basicsr_unlearn.core.importance import fisher, highest_share
from basicsr_unlearn.core.inverses import check_attack, drawn_again, each_alone, half_way
from basicsr_unlearn.core.layers import convolution_weights
from basicsr_unlearn.core.parts import EDITS, Edit, Evidence, Start, live_parameters, registered_in
from basicsr_unlearn.core.seeds import evenly_drawn
from basicsr_unlearn.core.shuffle_inverses import largest_in_the_middle, reordered_by_gain

Chosen = Mapping[str, Tensor]
Orders = dict[str, tuple[Tensor, Tensor]]  # of each kernel's taps (out, in, kh kw), of the output channels (out,)


@registered_in(EDITS)
class ShuffleTaps(Edit):
    """Put the taps of each convolution kernel in an order of its own, drawn at random.

    Unlike a transposition of all kernels it equals no change of the image. Kernels of one tap, most of the weights in
    some networks, stay as they are, and so does the sum of a kernel's taps, which is all that a flat region sees: what
    works on flat regions, as against haze, may survive, unless channels are shuffled too.

    Undone by who knows the run's seed and draws the same orders again: training in between has moved the weights, but
    not far. With `secret` nobody can, yet what was not shuffled is still there, and an attacker trains the shuffled
    weights alone.

    Args:
        share: of the kernels of more than one tap, in (0, 1], and of the channels.
        of_highest_ratio: take those with the highest ratio of Fisher information on the forget to that on the retain
            batches; otherwise they are drawn at random, the share of each layer.
        channels: put output channels of each convolution in another order as well, with their biases, while the next
            layer's inputs stay. Of kernels of one tap, too.
        secret: draw from the operating system's entropy instead of the run's seed, and keep no record of it. The run
            then cannot be repeated exactly; an interrupted one goes on from its last state all the same.

    Raises:
        ValueError: share is out of range.

    Source: our choice, where CT (see `TransposeKernels`) only hides.
    """

    def __init__(self, share: Share = 1.0, of_highest_ratio: bool = False, channels: bool = False,
                 secret: bool = False):
        check_share('share', share)
        self.share, self.of_highest_ratio, self.channels, self.secret = share, of_highest_ratio, channels, secret
        self.needs = ('forget', 'retain') if of_highest_ratio else ()

    @torch.no_grad()
    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        biases = _biases(net)
        for name, (taps, channels) in self._orders(evidence, None if self.secret else evidence.generator).items():
            weight = convolution_weights(net)[name]
            weight.copy_(weight.flatten(2).gather(2, taps)[channels].view(weight.shape))
            if name in biases:
                biases[name].copy_(biases[name][channels])

    @torch.no_grad()
    def attack(self, evidence: Evidence) -> list[Start]:
        """Every order turned back as the run's seed has it, whole and half way, unless it was secret; the largest tap
        of each kernel in its middle; orders that restore the forget batches better; the shuffled weights trained alone,
        and all others alone.
        """
        check_attack(self, evidence, 'forget', *self.needs)
        starts = [Start('largest tap in the middle', largest_in_the_middle(evidence.teacher)),
                  Start('kernels in an order of larger gain', reordered_by_gain(evidence))]
        if not self.secret:
            back = self._turned_back(evidence.teacher, self._orders(evidence, drawn_again(evidence)))
            starts += [Start('kernels back in order', back),
                       Start('kernels half way back in order', half_way(back, evidence.teacher))]
        kernels, rows = _chances(evidence.teacher, drawn_again(evidence))
        if self.secret and not self.of_highest_ratio:  # which were shuffled he cannot tell
            kernels, rows = ({name: chance >= 0 for name, chance in part.items()} for part in (kernels, rows))
        else:
            kernels, rows = self._chosen(evidence, (kernels, rows))
        shuffled = {name: mask[..., None, None] for name, mask in kernels.items()}
        if self.channels:
            shuffled = {name: shuffled.get(name, False) | mask.view(-1, 1, 1, 1) for name, mask in rows.items()}
        whole = convolution_weights(evidence.teacher)
        return [*starts, *each_alone({name: mask.expand(whole[name].shape) for name, mask in shuffled.items()},
                                     'shuffled weights', evidence)]

    def _orders(self, evidence: Evidence, generator: torch.Generator | None) -> Orders:
        """New orders for each convolution of the teacher; what is not chosen keeps its place.

        All are drawn, whatever is chosen, so that an attacker whose choice differs a little draws the same.
        """
        kernels, rows = self._chosen(evidence, _chances(evidence.teacher, generator))
        orders = {}
        for name, weight in convolution_weights(evidence.teacher).items():
            new = evenly_drawn(weight.flatten(2).shape, generator).argsort(2).to(weight.device)
            channels = evenly_drawn(weight.shape[:1], generator).argsort().to(weight.device)
            taps = torch.arange(new.shape[2], device=weight.device).expand(new.shape)
            if name in kernels:
                taps = torch.where(kernels[name][..., None], new, taps)
            places = torch.arange(len(channels), device=weight.device)
            if self.channels:
                places[rows[name]] = channels[rows[name][channels]]
            orders[name] = taps, places
        return orders

    def _chosen(self, evidence: Evidence, chances: tuple[Chosen, Chosen]) -> tuple[Chosen, Chosen]:
        """True for the kernels (out, in) and for the output channels (out,) that are shuffled, by parameter name."""
        if not self.of_highest_ratio:
            return tuple(highest_share(chance, self.share, per_layer=True) for chance in chances)
        importances = [fisher(evidence.teacher, batches, evidence.error)
                       for batches in (evidence.forget, evidence.retain)]
        return tuple(highest_ratio(*({name: values[name].flatten(chance[name].dim()).sum(-1) for name in chance}
                                     for values in importances), self.share) if chance else {} for chance in chances)

    def _turned_back(self, net: nn.Module, orders: Orders) -> nn.Module:
        net = deepcopy(net)
        biases = _biases(net)
        for name, weight in convolution_weights(net).items():
            taps, channels = orders[name]
            there = weight[channels.argsort()].flatten(2)
            weight.copy_(torch.empty_like(there).scatter_(2, taps, there).view(weight.shape))
            if name in biases:
                biases[name].copy_(biases[name][channels.argsort()])
        return net


def _chances(net: nn.Module, generator: torch.Generator | None) -> tuple[Chosen, Chosen]:
    """Numbers drawn for each kernel of more than one tap (out, in), and for each output channel (out,)."""
    weights = convolution_weights(net)
    return tuple({name: evenly_drawn(weight.shape[:size], generator).to(weight.device)
                  for name, weight in weights.items() if size == 1 or weight[0, 0].numel() > 1} for size in (2, 1))


def _biases(net: nn.Module) -> dict[str, nn.Parameter]:
    """The bias of each convolution that has one, by the name of its weight."""
    there = dict(live_parameters(net))
    names = {weight: f'{weight.removesuffix("weight")}bias' for weight in convolution_weights(net)}
    return {weight: there[bias] for weight, bias in names.items() if bias in there}
