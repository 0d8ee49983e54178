"""Scores, and what they say about forgetting and keeping."""
import numpy as np

from basicsr_unlearn.audit.statistics import (
    Interval,
    bootstrap,
    forget_gap,
    kolmogorov_smirnov,
    paired_difference,
    spread,
)
from basicsr_unlearn.auditing.context import IDENTITY, Context, by_photograph
from basicsr_unlearn.auditing.registry import measurement

LOWER_IS_BETTER = ('lpips', 'dists', 'niqe', 'fid')  # of pyiqa's and BasicSR's metrics
MINIMUM_GAIN = 0.1  # dB over the identity baseline, below which a share of the gain means nothing: our choice


@measurement('scores')
def scores(context: Context) -> dict:
    """Every metric of every network, and of the untouched input, on every data set."""
    metrics, broken = context.working_metrics
    result = {'metrics': {name: {'unit': 'dB' if 'psnr' in options['type'] else '', 'better': better(options)}
                          for name, options in metrics.items()},
              'left_out': broken, 'images': {}, 'photographs': {}, 'per_image': {}, 'mean': {}}
    for name in context.usable('forget', 'unseen', 'retain'):
        contents = context.contents(name)
        result['images'][name], result['photographs'][name] = contents.images, contents.photographs
        result['per_image'][name] = {column: context.inference(column, name)['metrics']
                                     for column in (IDENTITY, *context.columns)}
        result['mean'][name] = {
            column: {metric: interval(bootstrap(np.mean, by_photograph(values, contents.photographs)))
                     for metric, values in found.items()} for column, found in result['per_image'][name].items()}
    return result


def better(options: dict) -> str:
    """Whether higher or lower values of a metric are better."""
    named = options.get('metric', options['type']).removeprefix('calculate_')
    return options.get('better') or ('lower' if named in LOWER_IS_BETTER else 'higher')


@measurement('forgetting', needs=('forget set',))
def forgetting(context: Context) -> dict:
    """How far PSNR and outputs lie from the retrained networks', or from the identity baseline without one."""
    below = context.audit.options['verdict']['over_forgotten']['below']
    result = {}
    for name in context.usable('forget', 'unseen'):
        psnr = psnr_by_photograph(context, name, (IDENTITY, *context.columns))
        retrained = context.audit.retrained
        reference = np.stack([psnr[column] for column in retrained or [IDENTITY]], 1)
        gap = bootstrap(lambda rows: forget_gap(rows[:, 0].mean(), rows[:, 1:].mean(0)),
                        np.concatenate([psnr['unlearned'][:, None], reference], 1))
        result[name] = {
            'against': 'retrained' if retrained else 'identity', 'gap': interval(gap),
            'reference': spread(reference.mean(0))._asdict(), 'over_forgotten': gap.value < -below,
            'ks': {column: kolmogorov_smirnov(psnr['unlearned'], psnr[column])._asdict() for column in retrained},
            'distance': distances(context, name)}
    return result


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
    """What the retain sets lost against the original."""
    collapsed = context.audit.options['verdict']['over_forgotten']['collapsed']
    result = {}
    for name in context.usable('retain'):
        psnr = psnr_by_photograph(context, name, (IDENTITY, 'original', 'unlearned'))
        gain, left = (psnr[column].mean() - psnr[IDENTITY].mean() for column in ('original', 'unlearned'))
        kept = float(left / gain) if gain > MINIMUM_GAIN else None
        result[name] = {'loss': interval(paired_difference(psnr['original'], psnr['unlearned'])), 'kept': kept,
                        'collapsed': kept is not None and 1 - kept > collapsed}
    return result


def psnr_by_photograph(context: Context, name: str, columns: tuple[str, ...]) -> dict[str, np.ndarray]:
    photographs = context.contents(name).photographs
    return {column: by_photograph(context.inference(column, name)['metrics']['psnr'], photographs)
            for column in columns}


def interval(found: Interval) -> dict[str, float | None]:
    """An Interval as audit.json holds it."""
    return {key: None if value is None else round(value, 5) for key, value in found._asdict().items()}
