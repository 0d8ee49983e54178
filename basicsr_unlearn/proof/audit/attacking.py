"""The attackers of an audit: what they have, and what they reach against each of its networks."""
from dataclasses import asdict
from functools import cached_property

import numpy as np
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from basicsr_unlearn.core.leads import Trail
from basicsr_unlearn.core.seeds import fresh_seed, own_random_numbers
from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.attackers.attack_plan import Material
from basicsr_unlearn.proof.attackers.image_psnr import device_of
from basicsr_unlearn.proof.attackers.starts import known_parts
from basicsr_unlearn.proof.attackers.sweep import Sweep, sweep
from basicsr_unlearn.proof.audit.context import Context
from basicsr_unlearn.proof.audit.measuring import by_photograph
from basicsr_unlearn.proof.run_method import parts_of, record_of, run_method


class Attacking:
    """Every attacker of `measure.attacks` with what he has, the same against each network.

    Photographs that are scored are not learned from, whatever set they are in.

    Raises:
        DataError: a set cannot be used, or holds no forget pair.
    """

    def __init__(self, context: Context):
        self.context, self.plan = context, context.audit.attack_plan
        self.train, self.retain, self.test = context.audit.attack_sets
        check_forget_pairs(context)
        scored = context.chosen(self.test, context.audit.measure['attacks'].get('images'))
        self.items = [context.item(self.test, position) for position in scored]
        self.photographs = [context.contents(self.test).photographs[position] for position in scored]
        self._scored = context.marks(self.test, scored)
        self.method = attacked_method(context)
        known = known_parts()  # of the run's own parts those remain that the defaults of all methods do not hold
        self._own = [part for part in (parts_of(self.method) if self.method else [])
                     if not any(type(part) is type(other) and vars(part) == vars(other) for other in known)]
        self._parts = [*self._own, *(part for part in known if type(part) not in map(type, self._own))]

    @cached_property
    def _pairs(self) -> tuple[list, list]:
        """Forget pairs, and retain pairs, of photographs that are not scored."""
        most = max(self.plan.pairs)
        forget = self.context.pairs(self.train, self._most_forget, self._scored)
        retain = [self.context.pairs(name, most, self._scored) for name in self.retain]
        if not forget:
            raise DataError(f'Data set {self.train} has no photograph that is not scored too, so there is no forget '
                            'pair to learn from: name another one in measure.attacks.train, or score fewer images of '
                            f'{self.test} by measure.attacks.images.')
        return forget, [pair for pairs in retain for pair in pairs]

    @property
    def _most_forget(self) -> int:
        """So many forget pairs that each draw has others."""
        plan = self.plan.shortened()
        return plan.draws * max(plan.pairs)

    @property
    def forget_pairs(self) -> list:
        """What attackers learn the skill from, before any is drawn."""
        return self._pairs[0]

    def sweep(self, column: str) -> Sweep:
        """What all attackers reach against a network, from the cache if it was measured before."""
        context, path = self.context, self.context.audit.networks[column]
        relative = self._relative(column)
        digest = None if relative is None else context.digest(relative)
        metric = context.working_metrics[0][context.audit.metric]
        known = self.method if self._own or self._seed else None
        key = context.key('attacks', path, [self.train, *self.retain, self.test],
                          [asdict(self.plan), self._most_forget, len(self.items), metric, known, digest])

        def compute() -> dict:
            with context.progress(None, f'attacks on {column}', None, 'score') as bar:
                found = sweep(context.net(column), self._material(relative), self.plan, self.score,
                              lambda attacker: bar.set_postfix_str(attacker, refresh=False) or bar.update(),
                              context.audit.yardstick)
            return {'trails': [trail.record() for trail in found.trails], 'left_out': found.left_out}

        found = context.cached(key, compute)
        return Sweep([Trail.from_record(record) for record in found['trails']], found['left_out'])

    def score(self, net: nn.Module) -> float:
        """Mean over the photographs of the verdict's metric, as a network restores them whole."""
        return float(by_photograph(self.context.judged_scores(net, self.items), self.photographs).mean())

    def untouched(self) -> float:
        """The same of the untouched input, which is held against where there is no retrained network."""
        wanted, contents = set(self.photographs), self.context.contents(self.test)
        values = self.context.inference_of(None, self.test, 'identity')['metrics'][self.context.audit.metric]
        return float(np.mean([value for value, photograph in zip(by_photograph(values, contents.photographs),
                                                                 dict.fromkeys(contents.photographs))
                              if photograph in wanted]))

    def _relative(self, column: str) -> str | None:
        """File of the retrained network that this one is merged with: one, as more attackers would be ahead by luck."""
        files, retrained = self.context.audit.networks, self.context.audit.retrained
        after = retrained.index(column) + 1 if column in retrained else 0
        own = self.context.digest(files[column])
        return next((files[name] for name in (*retrained[after:], *retrained[:after])
                     if self.context.digest(files[name]) != own), None)

    def _material(self, relative: str | None) -> Material:
        forget, retain = self._pairs
        relatives = {} if relative is None else {'a retrained network': self.context.load(relative)}
        return Material(forget, retain, self._fresh, self._parts, relatives, self._seed)

    @property
    def _seed(self) -> int:
        return self.method['seed'] if self.method else 0

    def _fresh(self, seed: int | None) -> nn.Module:
        """A network with fresh weights, as the run made it where no seed is given."""
        options, device = dict(self.context.audit.options['network_g']), device_of(self.context.net('original'))
        with own_random_numbers(fresh_seed(self._seed) if seed is None else seed, device):
            return ARCH_REGISTRY.get(options.pop('type'))(**options).to(device)


def attacked_method(context: Context) -> dict | None:
    """How the unlearned network came to be, see `run_method`; None where no record of it is found."""
    network = context.audit.networks['unlearned']
    path = record_of(context.audit.measure.get('attacks', {}).get('record'), network)
    return run_method(path, context.digest(network)) if path.is_file() else None


def check_forget_pairs(context: Context) -> None:
    """Raise DataError if the set that attackers learn from can be read but holds no degraded image."""
    train = context.audit.attack_sets[0]
    contents = context.checked(train)
    if not contents.degraded:
        raise DataError(f'Data set {train}, which attackers learn from, holds no forget pair: each input equals its '
                        'clean image, so give measure.attacks.train a set with the degradation to be forgotten.')
