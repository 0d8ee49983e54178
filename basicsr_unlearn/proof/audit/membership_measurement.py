"""Whether the network's losses betray which images the original was trained on."""
from collections.abc import Callable

import numpy as np

from basicsr_unlearn.data.pairing import read_name_list
from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.attackers.lira import lira
from basicsr_unlearn.proof.attackers.membership import (
    AttackResult,
    auc_difference,
    judge,
    logistic_attack,
    loss_attack,
    reading,
)
from basicsr_unlearn.proof.attackers.statistics import Interval
from basicsr_unlearn.proof.audit.context import MEMBER_LOSSES, Context
from basicsr_unlearn.proof.audit.measuring import (
    SkippedError,
    as_dict,
    by_photograph,
    measurement,
    retrained_references,
)

TOLERANCE = 0.02  # of the reading in words; the verdict has its own limit


@measurement('membership', needs=('forget set',), optional=True)
def membership(context: Context) -> dict:
    """Three attacks on every network, the photographs of the members' set against those of the unseen one."""
    block = context.audit.measure['membership']
    members, unseen = block['members'], block['unseen']
    shared = set(context.checked(members).clean) & set(context.checked(unseen).clean)
    if shared:
        raise SkippedError(f'data sets {members} and {unseen} share {len(shared)} images, so one of them is no set of '
                           'unseen images: separate them, for instance with except_files')
    attacks = {'threshold': lambda column: _threshold(context, column, members, unseen),
               'logistic': lambda column: _logistic(context, column, members, unseen)}
    left_out = {}
    if block.get('shadow') and context.audit.quick:
        left_out['lira'] = {'state': 'skipped', 'reason': 'left out by --quick'}
    elif block.get('shadow'):
        shadow = _shadow(context, block['shadow'], members, unseen)
        attacks['lira'] = lambda column: _lira(context, column, members, unseen, *shadow)
    retrained = [column for column in retrained_references(context, members)
                 if column in retrained_references(context, unseen)]
    return {'members': members, 'unseen': unseen, 'against': retrained,
            'attacks': {name: _attack(context, attack, retrained) for name, attack in attacks.items()} | left_out}


def _attack(context: Context, attack: Callable[[str], AttackResult], retrained: list[str]) -> dict:
    try:
        found: dict[str, AttackResult] = {column: attack(column) for column in context.columns}
    except (DataError, ValueError) as error:
        return {'state': 'skipped', 'reason': str(error)}
    differences = {column: auc_difference(found['unlearned'], found[column]) for column in retrained}
    said = _reading(found, differences)
    return {'state': 'measured', 'reason': None, 'auc': {column: as_dict(one.auc) for column, one in found.items()},
            'tpr': {column: {f'{rate:g}': one.tpr[rate].value for rate in one.tpr} for column, one in found.items()},
            'difference': {column: as_dict(one) for column, one in differences.items()},
            'reading': said.state, 'text': said.text}


def _reading(found: dict[str, AttackResult], differences: dict[str, Interval]):
    """Beside the nearest of the retrained networks, whose images are the same: so the paired difference decides."""
    auc = found['unlearned'].auc
    if not differences or auc.low is None:
        return reading(auc, tolerance=TOLERANCE)
    column = min(differences, key=lambda name: abs(differences[name].value))
    reference = found[column].auc.value
    shifted = (reference + bound for bound in differences[column])
    return reading(Interval(*shifted), reference, TOLERANCE)


def _threshold(context: Context, column: str, members: str, unseen: str) -> AttackResult:
    return loss_attack(*(_losses(context, column, name)['l1'] for name in (members, unseen)))


def _logistic(context: Context, column: str, members: str, unseen: str) -> AttackResult:
    return logistic_attack(*(
        np.log(np.stack([_losses(context, column, name)[loss] for loss in MEMBER_LOSSES], 1) + 1e-8)
        for name in (members, unseen)))


def _losses(context: Context, column: str, name: str) -> dict[str, np.ndarray]:
    photographs = context.contents(name).photographs
    return {loss: by_photograph(values, photographs)
            for loss, values in context.inference(column, name)['losses'].items()}


def _shadow(context: Context, blocks: list, members: str, unseen: str) -> tuple[np.ndarray, np.ndarray]:
    """PSNR of every photograph by every shadow network (networks, n), and whether it was trained with it."""
    names = [name for part in (members, unseen) for name in dict.fromkeys(context.contents(part).photographs)]
    values, trained = [], []
    for index, block in enumerate(blocks):
        listed = set(read_name_list(block['trained_on']))
        if not listed & set(names):
            raise SkippedError(f'shadow[{index}].trained_on names no photograph of {members} or {unseen}: give file '
                               'names without suffix')
        values.append(_psnr(context, block['checkpoint'], f'shadow {index}', members, unseen))
        trained.append([name in listed for name in names])
    return np.array(values), np.array(trained)


def _psnr(context: Context, path: str, title: str, members: str, unseen: str) -> np.ndarray:
    return np.concatenate([by_photograph(context.inference_of(path, name, title)['metrics']['psnr'],
                                         context.contents(name).photographs) for name in (members, unseen)])


def _lira(context: Context, column: str, members: str, unseen: str, shadow: np.ndarray, trained: np.ndarray
          ) -> AttackResult:
    found = lira(_psnr(context, context.audit.networks[column], column, members, unseen), shadow, trained)
    count = len(dict.fromkeys(context.contents(members).photographs))
    return judge(found[:count], found[count:])
