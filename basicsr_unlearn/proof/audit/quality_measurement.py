"""Scores, and what they say about forgetting and keeping."""
import numpy as np

from basicsr_unlearn.core.judgement import (
    disagreement,
    false_references,
    gap_to,
    has_skill,
    is_over_forgotten,
    nothing_to_forget,
)
from basicsr_unlearn.core.yardstick import yardstick_of
from basicsr_unlearn.metrics.evaluation import IDENTITY
from basicsr_unlearn.proof.attackers.statistics import (
    bootstrap,
    kolmogorov_smirnov,
    one_more,
    paired_difference,
    spread,
)
from basicsr_unlearn.proof.audit.context import Context
from basicsr_unlearn.proof.audit.measuring import (
    as_dict,
    by_network,
    by_photograph,
    likeness_to,
    means,
    measurement,
    retrained_references,
)


@measurement('scores')
def scores(context: Context) -> dict:
    """Every metric of every network, and of the untouched input, on every data set."""
    metrics, broken = context.working_metrics
    known = {name: yardstick_of(name, context.audit.metrics[name]) for name in metrics}
    result = {'metrics': {name: {'unit': one.unit, 'better': 'higher' if one.higher else 'lower'}
                          for name, one in known.items()},
              'left_out': broken, 'images': {}, 'photographs': {}, 'per_image': {}, 'mean': {}}
    for name in context.usable('forget', 'unseen', 'retain'):
        contents = context.contents(name)
        result['images'][name], result['photographs'][name] = contents.images, contents.photographs
        result['per_image'][name] = {column: context.inference(column, name)['metrics']
                                     for column in (IDENTITY, *context.columns_on(name))}
        result['mean'][name] = {
            column: {metric: as_dict(bootstrap(np.mean, by_photograph(values, contents.photographs)))
                     for metric, values in found.items()} for column, found in result['per_image'][name].items()}
    return result


@measurement('forgetting', needs=('forget set',))
def forgetting(context: Context) -> dict:
    """How far scores and outputs lie from the retrained networks', or from the identity baseline without one."""
    return {name: _forgetting(context, name) for name in context.usable('forget', 'unseen')}


def _forgetting(context: Context, name: str) -> dict:
    yardstick, below = context.audit.yardstick, context.audit.options['verdict']['over_forgotten']['below']
    scores = means(context, name)
    skilled = has_skill(scores['original'], scores[IDENTITY], yardstick)
    if skilled:
        reason = disagreement(name, scores, yardstick)
    else:
        reason = None if likeness_to(context) else nothing_to_forget(name, scores, yardstick)
    found = {'judged': reason is None, 'reason': reason, 'likeness': reason is None and not skilled,
             'scores': {column: round(value, 5) for column, value in scores.items()},
             'skill': round(yardstick.gain(scores['original'], scores[IDENTITY]), 5),
             'fall': round(yardstick.gain(scores['original'], scores['unlearned']), 5),
             'against': [], 'no_reference': false_references(scores, yardstick) if skilled else [],
             'gap': None, 'reference': None, 'one_more': None,
             'over_forgotten': False, 'ks': {}, 'distance': distances(context, name)}
    if reason is not None:
        return found
    retrained = retrained_references(context, name)
    against = retrained or [IDENTITY]
    by = by_network(context, name, ['unlearned', *against])
    gap = bootstrap(lambda rows: gap_to(rows[:, 0].mean(), rows[:, 1:].mean(0), yardstick),
                    np.stack(list(by.values()), 1))
    values = [scores[column] for column in against]
    return {**found, 'against': against, 'gap': as_dict(gap), 'reference': spread(values)._asdict(),
            'one_more': as_dict(one_more(values)), 'over_forgotten': is_over_forgotten(gap.value, below),
            'ks': {column: kolmogorov_smirnov(by['unlearned'], by[column])._asdict() for column in retrained}}


def distances(context: Context, name: str) -> dict[str, dict[str, float]]:
    """Mean absolute difference of outputs to each retrained network's, in 8-bit levels."""
    retrained = context.audit.retrained
    found: dict[str, dict[str, float]] = {column: {} for column in context.columns} if retrained else {}
    for other in retrained:
        targets = [image.astype(np.float32) for image in context.outputs(other, name)]
        for column in context.columns:
            if column != other:
                each = [np.abs(image - target).mean() for image, target in zip(context.outputs(column, name), targets)]
                found[column][other] = round(float(np.mean(each)), 3)
    return found


@measurement('keeping', needs=('retain set',))
def keeping(context: Context) -> dict:
    """What the retain sets lost against the original, and how much is left of what it gains over the untouched input.
    """
    yardstick, collapsed = context.audit.yardstick, context.audit.options['verdict']['over_forgotten']['collapsed']
    result = {}
    for name in context.usable('retain'):
        by, scores = by_network(context, name, ['original', 'unlearned']), means(context, name)
        gain, left = (yardstick.gain(scores[column], scores[IDENTITY]) for column in ('original', 'unlearned'))
        kept = left / gain if has_skill(scores['original'], scores[IDENTITY], yardstick) else None
        ends = (by['original'], by['unlearned']) if yardstick.higher else (by['unlearned'], by['original'])
        result[name] = {'loss': as_dict(paired_difference(*ends)), 'kept': kept,
                        'collapsed': kept is not None and 1 - kept > collapsed}
    return result
