"""How fast the skill comes back: by fine-tuning all weights, or next to none."""
from collections.abc import Callable, Sequence

import numpy as np
from torch import nn

from basicsr_unlearn.audit.recovery import recover
from basicsr_unlearn.audit.relearning import Curve, mean_curve, relearn_area, relearning_curve
from basicsr_unlearn.audit.scores import Pairs, psnr_of_images
from basicsr_unlearn.auditing.context import Context, digest_of
from basicsr_unlearn.auditing.registry import measurement
from basicsr_unlearn.errors import DataError, OptionError

PAIRS = 8  # forget pairs to learn from: our choice


@measurement('relearning', needs=('forget set',), optional=True)
def relearning(context: Context) -> dict:
    """Fine-tune every network on a few forget pairs and score it on the way."""
    block = context.audit.measure['relearning']
    pairs, test, described = _material(context, block)

    def learn(column: str, measure: Callable) -> Curve:
        return relearning_curve(context.net(column), pairs, measure, [0, *block['steps']], block['lr'], block['patch'],
                                block['seeds'])

    curves = {column: _curve(context, ['relearning', block], column, learn, test, len(block['seeds']),
                             len(block['steps'])) for column in context.columns}
    return {**described, 'seeds': block['seeds'], **compared(context, curves)}


@measurement('recovery', needs=('forget set',), optional=True)
def recovery(context: Context) -> dict:
    """Learn a part alone from a few forget pairs: a prompt on the input, the network's own prompts, the last layer."""
    block = context.audit.measure['recovery']
    pairs, test, described = _material(context, block)
    ways = {}
    for way in block['ways']:
        def learn(column: str, measure: Callable, way: str = way) -> Curve:
            return recover(context.net(column), pairs, way, measure, [0, *block['steps']], block['lr'], block['patch'])

        shared = {key: value for key, value in block.items() if key != 'ways'}
        try:
            curves = {column: _curve(context, ['recovery', way, shared], column, learn, test, 1, len(block['steps']))
                      for column in context.columns}
            ways[way] = {'state': 'measured', 'reason': None, **compared(context, curves)}
        except OptionError as error:
            ways[way] = {'state': 'skipped', 'reason': str(error)}
    return {**described, 'ways': ways}


def _material(context: Context, block: dict) -> tuple[Pairs, Pairs, dict]:
    pairs, learned = context.pairs(block['train'], block.get('pairs', PAIRS))
    test, _ = context.pairs(block['test'], block.get('images'), learned)
    small = min(min(gt.shape[-2:]) for _, gt in pairs)
    if small < block['patch']:
        raise DataError(f'Data set {block["train"]} has an image of {small} pixels a side, smaller than patch '
                        f'{block["patch"]}: use a smaller patch.')
    return pairs, test, {'train': block['train'], 'test': block['test'], 'pairs': len(pairs), 'images': len(test),
                         'steps': block['steps'], 'lr': block['lr'], 'patch': block['patch']}


def _curve(context: Context, what: list, column: str, learn: Callable[[str, Callable], Curve], test: Pairs, seeds: int,
           steps: int) -> Curve:
    """The curve of one network, from the cache if it was measured before."""
    data = [context.contents(what[-1][key]).sha256 for key in ('train', 'test')]
    opt = context.audit.options
    key = digest_of([what, data, context.digest(context.audit.networks[column]), opt['network_g'],
                     opt.get('param_key_g'), opt.get('tile'), opt.get('tile_overlap')])

    def compute() -> dict:
        with context.progress(None, f'{what[0]} {what[1] if len(what) > 2 else ""} {column}'.replace('  ', ' '),
                              seeds * (steps + 1), 'score') as bar:
            def measure(net: nn.Module) -> Sequence[float]:
                bar.update()
                return psnr_of_images(context.whole(net), test)

            return {str(step): values for step, values in learn(column, measure).items()}

    return {int(step): values for step, values in context.cached(key, compute).items()}


def compared(context: Context, curves: dict[str, Curve]) -> dict:
    """Curves by step, and the lead over the best retrained network, or over the start without one."""
    means = {column: mean_curve(curve) for column, curve in curves.items()}
    unlearned, retrained = means['unlearned'], context.audit.retrained
    best = {step: max(means[column][step] for column in retrained) if retrained else unlearned[0] for step in unlearned}
    gap = {step: unlearned[step] - best[step] for step in unlearned}
    area = relearn_area(curves['unlearned'], [curves[column] for column in retrained]) if retrained else None
    return {'curves': {column: {str(step): _range(values) for step, values in curve.items()}
                       for column, curve in curves.items()},
            'gap': {str(step): round(value, 4) for step, value in gap.items()},
            'largest_gap': round(max(value for step, value in gap.items() if step > 0), 4), 'area': area}


def _range(values: list[list[float]]) -> dict[str, float]:
    """Mean over seeds and images, and the lowest and highest mean of a seed."""
    seeds = np.mean(values, 1)
    return {'value': round(float(seeds.mean()), 4), 'low': round(float(seeds.min()), 4),
            'high': round(float(seeds.max()), 4)}
