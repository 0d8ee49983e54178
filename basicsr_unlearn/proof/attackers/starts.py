"""Where attackers start from, besides the network as it is: each family is a function that gives its starts one by one.

Every start is scored as it is and then learns from forget pairs. What a family cannot do with a network, or with the
material, it says by raising an error of the package with a sentence.
"""
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

import basicsr_unlearn.core.anchors
import basicsr_unlearn.core.edits
import basicsr_unlearn.core.masks  # noqa: F401  fills the tables, as the two above
from basicsr_unlearn.core.edits.reset_edit import is_vector
from basicsr_unlearn.core.importance import mean_gradient
from basicsr_unlearn.core.inverses import of_lowest_error
from basicsr_unlearn.core.masks.layer_mask import LastLayersMask, LayerMask
from basicsr_unlearn.core.parts import ANCHORS, EDITS, MASKS, Edit, Evidence, Invertible, Start, check_invertible
from basicsr_unlearn.errors import DataError, OptionError, UnlearnError
from basicsr_unlearn.proof.attackers.around import (
    ORIENTATIONS,
    SCALES,
    InputPrompt,
    LowRankAdapter,
    Oriented,
    Rescaled,
)
from basicsr_unlearn.proof.attackers.attack_plan import Material
from basicsr_unlearn.proof.attackers.relearning import patches
from basicsr_unlearn.proof.attackers.weights import mixed

BITS = (8, 4)  # of quantised weights
SHARES = (0.25, 0.5, 0.75)  # of a relative in a merge
FRESH = (0.1, 0.2, 0.4)  # of an untrained network
LENGTHS = tuple(10**(-4 + position / 4) for position in range(13))  # of the line search, in norms of the weights
EVIDENCE_BATCHES = 2  # of 8 patches: what a part's inverse looks at; our choice
FEW_RATE = 5e-3  # of Adam where few weights train, which have to move further: our choice


@dataclass(frozen=True)
class Candidate:
    """A start of a family.

    Args:
        family: the kind of attacker.
        start: the network, its name and what trains.
        used_pairs: whether forget pairs were used to find it.
        rate: of Adam, where it needs its own.
        changed: whether the network differs from the attacked one before it learns, other weights trained apart.
    """
    family: str
    start: Start
    used_pairs: bool = False
    rate: float | None = None
    changed: bool = True


Starts = Iterator[Candidate]


def known_parts() -> list[Invertible]:
    """Every registered edit, mask and anchor that can be built without arguments, with its defaults."""
    built = []
    for cls in (*EDITS.values(), *MASKS.values(), *ANCHORS.values()):
        try:
            built.append(cls())
        except (TypeError, ValueError):  # such as a mask that has to be told which layers
            continue
    return built


def evidence_of(net: nn.Module, material: Material, patch: int) -> Evidence:
    """What an attacker shows to a part that he undoes: a few batches of patches, and generators as the run had them."""
    def batches(images: Sequence[tuple[Tensor, Tensor]]) -> list[dict[str, Tensor]]:
        generator = torch.Generator().manual_seed(material.seed)
        drawn = (patches(images, patch, generator) for _ in range(EVIDENCE_BATCHES if images else 0))
        device = next(net.parameters()).device
        return [{'lq': lq.to(device), 'gt': gt.to(device)} for lq, gt in drawn]

    def no_untrained(_: int | None) -> nn.Module:
        raise OptionError('no untrained network of its architecture is at hand.')

    return Evidence(deepcopy(net).requires_grad_(True), batches(material.forget), batches(material.retain),
                    material.untrained or no_untrained, torch.Generator().manual_seed(material.seed))


def inverses(net: nn.Module, part: Invertible, evidence: Callable[[], Evidence]) -> Starts:
    """What undoes a part of an unlearner, nothing where the part says that nothing does."""
    if type(part).attack is Invertible.attack:
        return
    given = evidence()
    for stream in getattr(part, 'needs', ()):
        if not getattr(given, stream, True):
            raise DataError(f'there are no {stream} pairs.')
    for start in part.attack(given):
        named = Start(f'{type(part).__name__}: {start.name}', start.net.eval(), start.trains)
        changed = not same_weights(start.net, net)
        if changed or start.trains is not None:  # else it is the network as it is, of which all learners are tried
            yield Candidate('inverse', named, used_pairs=True, changed=changed)


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Whether two networks have equal weights under equal names."""
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def orientations(net: nn.Module) -> Starts:
    """The images turned and mirrored, the outputs turned back."""
    for name in ORIENTATIONS:
        yield Candidate('orientation', Start(f'images {name}', Oriented(net, name)))


def rescaled(net: nn.Module) -> Starts:
    """Other values in the input, the change undone in the output."""
    for name in SCALES:
        yield Candidate('input', Start(f'images {name}', Rescaled(net, name)))


@torch.no_grad()
def quantised(net: nn.Module, bits: int) -> nn.Module:
    """A copy with the weights of each output channel rounded to 2^bits - 1 steps, symmetric around 0; vectors stay."""
    net, levels = deepcopy(net), 2**(bits - 1) - 1
    for p in net.parameters():
        if not is_vector(p):
            highest = p.flatten(1).abs().amax(1).view(-1, *[1] * (p.dim() - 1))
            step = highest.clamp_min(torch.finfo(p.dtype).tiny) / levels
            p.copy_((p / step).round() * step)
    return net


def quantisations(net: nn.Module) -> Starts:
    """Weights of fewer bits, which a small change of the weights does not survive (arXiv 2410.16454)."""
    for bits in BITS:
        yield Candidate('quantisation', Start(f'weights of {bits} bits', quantised(net, bits)))


def line_search(evidence: Evidence) -> Starts:
    """The best network, on the attacker's own pairs, along the gradient of its error on them."""
    downhill = mean_gradient(evidence.teacher, evidence.forget, evidence.error)
    weights = {name: evidence.teacher.get_parameter(name).detach() for name in downhill}
    size, slope = (sum(float(value.double().square().sum()) for value in values.values())**0.5
                   for values in (weights, downhill))
    if not slope > 0:
        raise OptionError('the error on the forget pairs has no gradient.')
    best = of_lowest_error(({name: weight - length * size / slope * downhill[name] for name, weight in weights.items()}
                            for length in LENGTHS), evidence)
    yield Candidate('line search', Start('one line search along the forget gradient', best), used_pairs=True)


def merges(net: nn.Module, name: str, relative: nn.Module) -> Starts:
    """The mean of the weights with those of a relative. Raises CheckpointError if it has other weights."""
    for share in SHARES:
        yield Candidate('merging', Start(f'{share:.0%} of {name} merged in', mixed(net, relative, share)))


def loosened(net: nn.Module, fresh: nn.Module) -> Starts:
    """The weights drawn towards an untrained network's, as fully trained ones learn slowly what is new: shrink and
    perturb (Ash and Adams, NeurIPS 2020).
    """
    for share in FRESH:
        yield Candidate('loosening', Start(f'{share:.0%} of untrained weights mixed in', mixed(net, fresh, share)))


def few_weights(net: nn.Module, what: str, evidence: Evidence) -> Starts:
    """One of FEW: next to no weights train, so that these cannot learn the skill from nothing."""
    if what == 'input prompt':
        around = InputPrompt(net, evidence.forget[0]['lq'])
        start = Start(what, around, {'prompt': torch.ones_like(around.prompt)})
    elif what == 'low-rank adapter':
        around = LowRankAdapter(net)
        start = Start(what, around, {name: torch.ones_like(p) for name, p in around.named_parameters()
                                     if not name.startswith('net.')})
    elif what == 'vectors':
        start = Start('norms, scales and biases', net, {name: torch.ones_like(p) for name, p in net.named_parameters()
                                                        if is_vector(p)})
    else:
        mask = LayerMask(part='prompts') if what == 'own prompts' else LastLayersMask(1)
        start = Start(what, net, mask(evidence))
    if not start.trains:
        raise OptionError('it has no such weights.')
    yield Candidate('few weights', Start(f'{start.name} alone', start.net, start.trains), rate=FEW_RATE, changed=False)


FEW = ('last layer', 'vectors', 'own prompts', 'input prompt', 'low-rank adapter')


def all_starts(net: nn.Module, material: Material, patch: int, quick: bool, left_out: list[str]) -> Starts:
    """The starts of every family, one after another, so that one copy lies in memory; why one is missing is noted.

    Args:
        net: the attacked network, in eval mode; not changed.
        material: what the attackers have, of which these may look at every pair.
        patch: side of a clean patch.
        quick: inverses of edits, and orientations, alone.
        left_out: takes a sentence for each family, or part of it, that was left out.

    Raises:
        OptionError: a part declares neither how it is undone nor why that cannot be.
    """
    parts = known_parts() if material.parts is None else material.parts
    for part in parts:
        check_invertible(type(part))

    def evidence() -> Evidence:
        return evidence_of(net, material, patch)

    makers: list[tuple[str, Callable[[], Starts]]] = [
        *((f'Undoing {type(part).__name__}', lambda part=part: inverses(net, part, evidence))
          for part in parts if isinstance(part, Edit) or not quick),
        ('Turning the images', lambda: orientations(net))]
    if not quick:
        makers += [
            ('Changing the input', lambda: rescaled(net)), ('Quantising the weights', lambda: quantisations(net)),
            ('A line search', lambda: line_search(evidence())),
            *((f'Merging with {name}', lambda name=name, other=other: merges(net, name, other))
              for name, other in material.relatives.items()),
            ('Loosening the weights', lambda: loosened(net, evidence().untrained(material.seed))),
            *((f'Training the {what} alone', lambda what=what: few_weights(net, what, evidence())) for what in FEW)]
    for what, maker in makers:
        try:
            yield from maker()
        except (UnlearnError, ValueError) as error:
            left_out.append(f'{what} was left out: {error}')
