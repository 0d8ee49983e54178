"""Only the weights of some layers may move: by name, by part of the network, or by their place in it."""
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_choice, check_whole
from basicsr_unlearn.core.hints import Count
from basicsr_unlearn.core.inverses import check_attack, each_alone
from basicsr_unlearn.core.layers import layers_in_order
from basicsr_unlearn.core.parts import MASKS, Evidence, Mask, Start, live_parameters, registered_in
from basicsr_unlearn.core.samples import one_sample
from basicsr_unlearn.errors import OptionError

# Names of NAFNet, of the Restormer family (Restormer, PromptIR, AdaIR: its frequency blocks fre1 to 3 sit in the
# decoder) and of AirNet (E: degradation encoder, R: restorer). The lowest resolution counts as encoder, our choice.
NETWORK_PARTS = {
    'encoder': ('intro', 'encoders', 'downs', 'middle_blks', 'patch_embed', 'encoder_level*', 'down[0-9]*', 'latent',
                'E'),
    'decoder': ('ups', 'decoders', 'ending', 'up[0-9]*', 'reduce_*', 'noise_level*', 'fre[0-9]', 'decoder_level*',
                'refinement', 'output', 'R'),
    'prompts': ('prompt[0-9]*',),
}


@registered_in(MASKS)
class LayerMask(Mask):
    """The weights whose names match a pattern.

    A pattern has the wildcards of a shell (* ? [...]), upper and lower case differ, and it stands for a parameter's
    whole name or for its beginning up to a dot: 'decoders' and 'decoders.*' are the same. What `part` and `include`
    name may move, everything if neither is given, but never what `exclude` names.

    The other layers are the original's still: an attacker trains those that moved alone, or all others.

    Args:
        part: 'encoder', 'decoder' or 'prompts', for NAFNet, Restormer, PromptIR, AdaIR and AirNet.
        include, exclude: a pattern or a list of patterns.

    Raises:
        ValueError: none of the three is given, or one is not what it should be.
        OptionError: when called, a pattern matches no parameter, or the network is none of those with known parts.

    Source: encoder only, with the rest frozen, is I2I's (ICLR 2024); the other sets are our choice.
    """

    def __init__(self, part: Literal['encoder', 'decoder', 'prompts'] | None = None,
                 include: str | Sequence[str] | None = None, exclude: str | Sequence[str] | None = None):
        if part is None and include is None and exclude is None:
            raise ValueError('LayerMask needs part, include or exclude: which weights may move.')
        if part is not None:
            check_choice('part', part, NETWORK_PARTS)
        self.part = part
        self.include, self.exclude = _patterns('include', include), _patterns('exclude', exclude)

    def __call__(self, evidence: Evidence) -> dict[str, Tensor]:
        parameters = dict(live_parameters(evidence.teacher))
        for pattern in (*self.include, *self.exclude):
            if not any(matches(name, pattern) for name in parameters):
                raise OptionError(f"LayerMask: the pattern '{pattern}' matches no weight of the network, whose weights "
                                  f'have names such as {_examples(parameters)}.')
        included = (*self.include, *(self._part_patterns(parameters) if self.part else ()))

        def moves(name: str) -> bool:
            return ((not included or any(matches(name, pattern) for pattern in included))
                    and not any(matches(name, pattern) for pattern in self.exclude))

        return {name: torch.full_like(p, moves(name), dtype=torch.bool) for name, p in parameters.items()}

    def attack(self, evidence: Evidence) -> list[Start]:
        check_attack(self, evidence, 'forget')
        return each_alone(self(evidence), 'layers that moved', evidence)

    def _part_patterns(self, parameters: dict[str, nn.Parameter]) -> tuple[str, ...]:
        unknown = [name for name in parameters
                   if not any(matches(name, pattern) for patterns in NETWORK_PARTS.values() for pattern in patterns)]
        if unknown:  # of an unknown network some names may match by chance
            raise OptionError(f"LayerMask: the parts of this network are not known, since '{unknown[0]}' belongs to "
                              f'none of {", ".join(NETWORK_PARTS)}: use include in place of part.')
        if not any(matches(name, pattern) for name in parameters for pattern in NETWORK_PARTS[self.part]):
            raise OptionError(f"LayerMask: this network has no part '{self.part}': its weights have names such as "
                              f'{_examples(parameters)}.')
        return NETWORK_PARTS[self.part]


@registered_in(MASKS)
class LastLayersMask(Mask):
    """The weights of the last layers in the order in which they finish when the network runs on a forget sample.

    What counts as a layer is said in `layers_in_order`: any module that owns weights itself, so that normalisations and
    blocks with scales of their own count too.

    The other layers are the original's still: an attacker trains the last ones alone, or all others.

    Args:
        count: how many layers, at least 1.

    Raises:
        ValueError: count is not a whole number of at least 1.
        OptionError: when called, the network has fewer layers.

    Source: CF-k and EU-k, Goel et al., arXiv 2201.06640, where all but the last k layers are frozen. They count from
    the output too; count 1: our choice.
    """

    needs = ('forget',)

    def __init__(self, count: Count = 1):
        check_whole('count', count, minimum=1)
        self.count = count

    def __call__(self, evidence: Evidence) -> dict[str, Tensor]:
        layers = layers_in_order(evidence.teacher, one_sample(evidence.forget[0]), evidence.run)
        if self.count > len(layers):
            raise OptionError(f'LastLayersMask: count is {self.count} but the network has {len(layers)} layers.')
        last = set(layers[-self.count:])
        return {name: torch.full_like(p, name.rpartition('.')[0] in last, dtype=torch.bool)
                for name, p in live_parameters(evidence.teacher)}

    def attack(self, evidence: Evidence) -> list[Start]:
        check_attack(self, evidence, 'forget')
        return each_alone(self(evidence), 'last layers that moved', evidence)


def matches(name: str, pattern: str) -> bool:
    """Whether a pattern stands for the whole name of a parameter or for its beginning up to a dot.

    >>> matches('decoders.0.weight', 'decoders'), matches('intro.weight', 'decoders')
    (True, False)
    """
    return fnmatchcase(name, pattern) or fnmatchcase(name, f'{pattern}.*')


def _patterns(option: str, value: str | Sequence[str] | None) -> tuple[str, ...]:
    patterns = () if value is None else (value,) if isinstance(value, str) else value
    if (not isinstance(patterns, Sequence) or not all(isinstance(pattern, str) and pattern for pattern in patterns)
            or (value is not None and not patterns)):
        raise ValueError(f'{option}: expected a pattern or a list of patterns but got {value!r}.')
    return tuple(patterns)


def _examples(names: Sequence[str]) -> str:
    names = list(names)
    spread = [names[i * (len(names) - 1) // 4] for i in range(5)]
    return ', '.join(dict.fromkeys(spread))
