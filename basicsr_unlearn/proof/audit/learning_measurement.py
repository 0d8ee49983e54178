"""How fast the skill comes back: by fine-tuning all weights, or next to none."""
from collections.abc import Callable, Sequence

import numpy as np
from torch import nn

from basicsr_unlearn.core.judgement import best_curve, largest_lead, leads, nothing_to_forget
from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.errors import DataError, OptionError
from basicsr_unlearn.proof.attackers.image_psnr import Pairs
from basicsr_unlearn.proof.attackers.recovery import recover
from basicsr_unlearn.proof.attackers.relearning import Curve, mean_curve, relearning_curve
from basicsr_unlearn.proof.attackers.statistics import area_between
from basicsr_unlearn.proof.audit.context import Context
from basicsr_unlearn.proof.audit.measuring import SkippedError, means, measurement, retrained_references

DEFAULT_PAIRS = 8  # forget pairs to learn from: our choice


@measurement('relearning', needs=('forget set',), optional=True)
def relearning(context: Context) -> dict:
    """Fine-tune every network on a few forget pairs and score it on the way."""
    block = context.audit.measure['relearning']
    retrained = _references(context, block['test'])
    pairs, test, described = _material(context, block)

    def learn(column: str, measure: Callable) -> Curve:
        return relearning_curve(context.net(column), pairs, measure, [0, *block['steps']], block['lr'], block['patch'],
                                block['seeds'])

    curves = {column: _curve(context, 'relearning', block, column, learn, test, len(block['seeds']),
                             len(block['steps'])) for column in context.columns}
    return {**described, 'seeds': block['seeds'], 'against': retrained,
            **compared(curves, retrained, context.audit.yardstick)}


@measurement('recovery', needs=('forget set',), optional=True)
def recovery(context: Context) -> dict:
    """Learn a part alone from a few forget pairs: a prompt on the input, the network's own prompts, the last layer."""
    block = context.audit.measure['recovery']
    retrained = _references(context, block['test'])
    pairs, test, described = _material(context, block)
    ways = {}
    for way in block['ways']:
        def learn(column: str, measure: Callable, way: str = way) -> Curve:
            return recover(context.net(column), pairs, way, measure, [0, *block['steps']], block['lr'], block['patch'])

        shared = {key: value for key, value in block.items() if key != 'ways'}
        try:
            curves = {column: _curve(context, f'recovery {way}', shared, column, learn, test, 1, len(block['steps']))
                      for column in context.columns}
            ways[way] = {'state': 'measured', 'reason': None, **compared(curves, retrained, context.audit.yardstick)}
        except OptionError as error:
            ways[way] = {'state': 'skipped', 'reason': str(error)}
    return {**described, 'against': retrained, 'ways': ways}


def _references(context: Context, test: str) -> list[str]:
    """The networks that a lead is over. Raises SkippedError where there is no skill that could come back."""
    reason = context.contents(test).problem or nothing_to_forget(test, means(context, test), context.audit.yardstick)
    if reason:
        raise SkippedError(reason)
    return retrained_references(context, test)


def _material(context: Context, block: dict) -> tuple[Pairs, list[dict], dict]:
    """Pairs to learn from, items of other photographs to score, and both in words."""
    items, learned = context.some(block['train'], block.get('pairs', DEFAULT_PAIRS))
    pairs = [(item['lq'], item['gt']) for item in items]
    test, _ = context.some(block['test'], block.get('images'), learned)
    small = min(min(gt.shape[-2:]) for _, gt in pairs)
    if small < block['patch']:
        raise DataError(f'Data set {block["train"]} has an image of {small} pixels a side, smaller than patch '
                        f'{block["patch"]}: use a smaller patch.')
    return pairs, test, {'train': block['train'], 'test': block['test'], 'pairs': len(pairs), 'images': len(test),
                         'steps': block['steps'], 'lr': block['lr'], 'patch': block['patch']}


def _curve(context: Context, what: str, options: dict, column: str, learn: Callable[[str, Callable], Curve],
           test: list[dict], seeds: int, steps: int) -> Curve:
    """The curve of one network, from the cache if it was measured before."""
    metric = context.working_metrics[0][context.audit.metric]
    key = context.key(what, context.audit.networks[column], [options['train'], options['test']], [options, metric])

    def compute() -> dict:
        with context.progress(None, f'{what} {column}', seeds * (steps + 1), 'score') as bar:
            def measure(net: nn.Module) -> Sequence[float]:
                bar.update()
                return context.judged_scores(net, test)

            return {str(step): values for step, values in learn(column, measure).items()}

    return {int(step): values for step, values in context.cached(key, compute).items()}


def compared(curves: dict[str, Curve], retrained: Sequence[str], yardstick: Yardstick) -> dict:
    """Curves by step, and the lead over the best of the retrained networks, or over the start without one."""
    mean = {column: mean_curve(curve) for column, curve in curves.items()}
    unlearned = mean['unlearned']
    best = (best_curve([mean[column] for column in retrained], yardstick) if retrained
            else dict.fromkeys(unlearned, unlearned[0]))
    gap = leads(unlearned, best, yardstick)
    return {'curves': {column: {str(step): _range(values) for step, values in curve.items()}
                       for column, curve in curves.items()},
            'gap': {str(step): round(value, 4) for step, value in gap.items()},
            'largest_gap': round(largest_lead(gap), 4),
            'area': area_between(gap, dict.fromkeys(gap, 0.0)) if retrained else None}


def _range(values: list[list[float]]) -> dict[str, float]:
    """Mean over seeds and images, and the lowest and highest mean of a seed."""
    seeds = np.mean(values, 1)
    return {'value': round(float(seeds.mean()), 4), 'low': round(float(seeds.min()), 4),
            'high': round(float(seeds.max()), 4)}
