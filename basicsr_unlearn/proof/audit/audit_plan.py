"""What an audit's option file asks for, read and checked before anything is measured."""
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from basicsr_unlearn.core.attacks import attack_settings
from basicsr_unlearn.core.parts import ANCHORS, EDITS, MASKS, check_invertible
from basicsr_unlearn.core.tiling import DEFAULT_OVERLAP, check_tile
from basicsr_unlearn.core.yardstick import Yardstick, yardstick_of
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.options.audit_sections import AuditFile
from basicsr_unlearn.options.option_file import find_option_file, load_option_file
from basicsr_unlearn.options.overrides import override
from basicsr_unlearn.options.section_checks import check_section
from basicsr_unlearn.proof.attackers.attack_plan import AttackPlan

AUDITS = Path('results/audit')
ROLES = ('forget', 'unseen', 'retain')  # of sets that are scored; attackers learn from one more
ASSURED = ('outputs', 'members', 'weights')  # by what they assure
FORMER_LEVELS = {'published': 'outputs', 'calibrated': 'members', 'deep': 'weights'}
FORMER_ATTACKS, FORMER_LIMITS = ('relearning', 'recovery'), ('relearn_gap', 'recovery_gap')
SLOW = ('representation', 'robustness')  # what --quick leaves out


@dataclass(frozen=True)
class Audit:
    """An audit's option file, read and checked.

    `networks` are paths by column, see SCHEMA.md; `datasets` the blocks by name with `role`; `measure` the blocks of
    what is to be measured; `metric` the key in `metrics` of what forgetting is judged by, `yardstick` what is known of
    it; `options` the whole file with overrides applied.
    """
    name: str
    file: str
    text: str
    options: dict
    networks: dict[str, str]
    datasets: dict[str, dict]
    metrics: dict[str, dict]
    measure: dict[str, dict]
    metric: str
    yardstick: Yardstick
    quick: bool
    out: Path

    @property
    def attack_plan(self) -> AttackPlan:
        """How attackers learn, by `measure.attacks`. Raises OptionError."""
        block = self.measure.get('attacks', {})
        own = {field.name: block[field.name] for field in fields(AttackPlan) if block.get(field.name) is not None}
        try:
            return AttackPlan(**{**own, 'quick': self.quick or own.get('quick', False)})
        except OptionError as error:
            raise OptionError(f'measure.{error}') from error

    @property
    def attack_sets(self) -> tuple[str, list[str], str]:
        """The data sets that attackers learn from, forget pairs and then retain pairs, and the one that is scored."""
        block = self.measure['attacks']
        retain = block.get('retain') or []
        return block['train'], [retain] if isinstance(retain, str) else retain, block['test']

    @property
    def retrained(self) -> list[str]:
        """The columns of the retrained networks."""
        return [column for column in self.networks if column.startswith('retrained')]

    def of_role(self, *roles: str) -> list[str]:
        """The data sets of these roles."""
        return [name for name, block in self.datasets.items() if block['role'] in roles]


def read_audit(path: str, overrides: Sequence[str] = (), quick: bool = False) -> Audit:
    """Read an audit's option file.

    Args:
        path: as given; `options/NAME.yml` is found in an installed package too.
        overrides: entries `key:key=value` as of `--force_yml`.
        quick: leave out what is SLOW and all metrics but the one that judges, in a folder of its own.

    Raises:
        OptionError: an option is unknown, missing or out of range, the file does not exist, or attackers are asked
            for and a registered part declares no inverse.
    """
    file = find_option_file(path)
    opt = load_option_file(path)
    override(opt, list(overrides))
    _check_level_names(opt)
    _check_former_attacks(opt)
    check_section(opt, AuditFile, '')
    name = f'{opt["name"]}_quick' if quick else opt['name']
    if not re.fullmatch(r'[\w.=+-]+', name):
        raise OptionError(f"name is '{name}', which becomes a folder: use letters, digits, _, -, +, . and =.")
    _check_datasets(opt['datasets'])
    if opt['metrics'].get('psnr', {}).get('type') != 'calculate_psnr':
        raise OptionError('metrics.psnr is missing, in which forgetting is measured: add '
                          'psnr: {type: calculate_psnr, crop_border: 0}.')
    if opt.get('tile'):
        try:
            check_tile(opt['tile'], opt.get('tile_overlap', DEFAULT_OVERLAP))
        except ValueError as error:
            raise OptionError(f'{error}.') from error
    measure = {key: deepcopy(dict(block)) for key, block in (opt.get('measure') or {}).items() if block is not None}
    _check_measure(measure, opt['datasets'])
    metric = opt['verdict'].get('metric', 'psnr')
    if metric not in opt['metrics']:
        raise OptionError(f"verdict.metric is '{metric}', which is none of metrics: use one of "
                          f'{", ".join(opt["metrics"])}.')
    metrics = {key: block for key, block in _plain(opt['metrics']).items() if not quick or key in ('psnr', metric)}
    scale = opt.get('scale', 1)
    plan = Audit(
        name=name, file=file.name, text=file.read_text(encoding='utf-8'), options=_plain(opt),
        networks=_networks(opt['networks']),
        datasets={key: {**_plain(block), 'name': key, 'phase': 'val', 'scale': scale}
                  for key, block in opt['datasets'].items()},
        metrics=metrics, measure=_plain(measure), metric=metric,
        yardstick=yardstick_of(metric, metrics[metric], opt['verdict'].get('skill_margin')), quick=quick,
        out=AUDITS / name)
    if 'attacks' in measure:
        plan.attack_plan.shortened()  # raises for numbers that no attacker can use
        for part in (*EDITS.values(), *MASKS.values(), *ANCHORS.values()):
            check_invertible(part)
    return plan


def _check_level_names(opt: Mapping) -> None:
    """Refuse the names that levels had in earlier versions, with those they have now."""
    block = opt.get('verdict')
    if not isinstance(block, Mapping):
        return
    levels = block.get('levels')
    for name in levels if isinstance(levels, Mapping) else ():
        if name in FORMER_LEVELS:
            raise OptionError(f'verdict.levels.{name} is called {FORMER_LEVELS[name]} now, by what it assures: rename '
                              'it.')
    required = block.get('require')
    if isinstance(required, str) and required in FORMER_LEVELS:
        raise OptionError(f"verdict.require is '{required}', a level that is called {FORMER_LEVELS[required]} now, by "
                          'what it assures: rename it.')


def _check_former_attacks(opt: Mapping) -> None:
    """Refuse the blocks and limits of attackers of earlier versions, with what stands in their place."""
    measure, verdict = (opt.get(key) if isinstance(opt.get(key), Mapping) else {} for key in ('measure', 'verdict'))
    for name in FORMER_ATTACKS:
        if measure.get(name) is not None:
            raise OptionError(f'measure.{name} was one attacker with one rate, and measure.attacks runs all of them '
                              'now: put attacks: {train: ..., test: ...} in its place, as options/audit_haze.yml has '
                              'it.')
    levels = verdict.get('levels') if isinstance(verdict.get('levels'), Mapping) else {}
    for level, limits in levels.items():
        for name in FORMER_LIMITS if isinstance(limits, Mapping) else ():
            if name in limits:
                raise OptionError(f'verdict.levels.{level}.{name} is lead now, the limit of the strongest attacker: '
                                  'put lead: 0.5 in its place.')


def _networks(networks: Mapping) -> dict[str, str]:
    retrained = networks.get('retrained') or []
    retrained = [retrained] if isinstance(retrained, str) else list(retrained)
    names = ['retrained'] if len(retrained) == 1 else [f'retrained {i}' for i in range(1, len(retrained) + 1)]
    return {'original': networks['original'], 'unlearned': networks['unlearned'], **dict(zip(names, retrained))}


def _check_datasets(datasets: Mapping) -> None:
    for name, block in datasets.items():
        where = f'datasets.{name}'
        if block.get('role') is None:
            raise OptionError(f'{where}.role is missing: it must be forget (of what the original was trained on and '
                              'has to lose), unseen (the same degradation, on photographs that no network was trained '
                              'on), retain, or attacker (what attackers alone learn from).')
        if block.get('name') not in (None, name):
            raise OptionError(f"{where}.name is '{block['name']}', but in an audit a data set has the name of its key: "
                              'take the line out.')
    roles = {block['role'] for block in datasets.values()}
    if not roles & {'forget', 'unseen'}:
        raise OptionError('datasets has no set with role forget or unseen, on which forgetting is measured: add one.')


def _check_measure(measure: Mapping[str, dict], datasets: Mapping) -> None:
    named = {'membership': {'members': ('forget',), 'unseen': ('unseen',)},
             'attacks': {'train': ('forget', 'unseen', 'attacker'), 'retain': ('attacker',),
                         'test': ('forget', 'unseen')},
             'representation': {'dataset': ROLES}}
    for name, keys in named.items():
        for key, roles in keys.items() if name in measure else ():
            named = measure[name].get(key)
            for value in named if isinstance(named, list) else [] if named is None else [named]:
                _check_role(f'measure.{name}.{key}', value, roles, datasets)
    try:
        attack = attack_settings(measure.get('robustness', {}).get('attack'))
    except ValueError as error:
        raise OptionError(f'measure.robustness.{error}') from error
    if attack['type'] == 'carried' or attack['network'] != 'student':
        raise OptionError('measure.robustness.attack: each network is measured under an attack on itself, so use type '
                          'pgd or one_step, and leave network out.')


def _check_role(where: str, value: str, roles: tuple[str, ...], datasets: Mapping) -> None:
    if value in datasets and datasets[value]['role'] in roles:
        return
    there = [name for name, block in datasets.items() if block['role'] in roles]
    pairs = ' of forget pairs' if where == 'measure.attacks.train' else ''
    raise OptionError(f"{where} is '{value}', but it must be a data set{pairs} with role {' or '.join(roles)}: "
                      + (f'use {" or ".join(there)}.' if there else 'add one.'))


def _plain(content: Any) -> Any:
    """Plain dicts, lists and values, as they are read back from JSON."""
    if isinstance(content, Mapping):
        return {str(key): _plain(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_plain(entry) for entry in content]
    return content
