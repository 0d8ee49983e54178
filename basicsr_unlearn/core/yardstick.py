"""The metric that forgetting is judged by: its unit, which way is better, and from what difference on it counts."""
from collections.abc import Mapping
from dataclasses import dataclass

SKILL_MARGIN = 1.0  # dB; our choice: a tenth of what the shipped networks gain, several times what seeds differ by
FORGET_TOLERANCE = 0.3  # dB; our choice: wide, since training judges on a handful of images
SHARE_TOLERANCE = 0.05  # of the way from the original to the reference, in place of FORGET_TOLERANCE where not in dB


@dataclass(frozen=True)
class Yardstick:
    """The metric that forgetting is judged by.

    Args:
        name: of the metric, as people read it.
        unit: 'dB' or ''.
        higher: whether higher values are better restorations.
        margin: by how much the original has to beat the untouched input for there to be a skill, and how far a
            retrained network has to fall short of the original to be a reference. In the metric's unit; None takes
            SKILL_MARGIN for a metric in dB, and 0 for others, whose scale is not known here.

    >>> Yardstick().gain(20.0, over=11.0), Yardstick('LPIPS', '', higher=False).gain(0.25, over=0.75)
    (9.0, 0.5)
    """
    name: str = 'PSNR'
    unit: str = 'dB'
    higher: bool = True
    margin: float | None = None

    @property
    def skill_margin(self) -> float:
        return self.margin if self.margin is not None else SKILL_MARGIN if self.unit == 'dB' else 0.0

    def gain(self, score: float, over: float) -> float:
        """How much better `score` is than `over`: positive is a better restoration, whatever the metric."""
        return score - over if self.higher else over - score

    def tolerance(self, original: float, reference: float) -> float:
        """How far from the reference still counts as forgotten."""
        return FORGET_TOLERANCE if self.unit == 'dB' else SHARE_TOLERANCE * abs(original - reference)

    def shown(self, value: float) -> str:
        """The value with its unit, to 2 digits in dB, else to 4."""
        return f'{value:.2f} dB' if self.unit == 'dB' else f'{value:.4f}'


PSNR = Yardstick()
LOWER_IS_BETTER = ('lpips', 'dists', 'niqe', 'fid')  # of pyiqa's and BasicSR's metrics


def yardstick_of(name: str, options: Mapping, margin: float | None = None) -> Yardstick:
    """The yardstick that a metric is.

    Args:
        name: of the metric in the option file.
        options: its block there: `type`, and `better` or `metric`, which say whether higher values are better.
        margin: see `Yardstick`; None for its default.

    >>> yardstick_of('lpips', {'type': 'calculate_pyiqa', 'metric': 'lpips'}).higher
    False
    """
    kind = options['type'].removeprefix('calculate_')
    default = 'lower' if str(options.get('metric', kind)).lower() in (*LOWER_IS_BETTER, 'psnr_to_input') else 'higher'
    return Yardstick('PSNR' if kind == 'psnr' else name.upper() if name == kind else name,
                     'dB' if 'psnr' in kind else '', (options.get('better') or default) == 'higher', margin)
