"""The ideas of unlearning as plain torch code, free of BasicSR, so that any trainer can use them.

`unlearner.Unlearner` is the step as an object. It is made of an objective (`losses`, `anchors`), a preparation
(`edits`, `masks`, a proxy, a fitted rate) and a stop rule; `samples` says what they work with. Losses, edits, masks and
anchors have files of their own, found by their suffix and entered in a table of `parts`.
"""
from basicsr_unlearn.core import anchors, edits, losses, masks  # noqa: F401  fills the tables
from basicsr_unlearn.core.ascent import BOUNDS, bounded_ascent, sample_loss
from basicsr_unlearn.core.attacks import attack_settings, pgd
from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.core.parts import ANCHORS, EDITS, LOSSES, MASKS

__all__ = ['ANCHORS', 'BOUNDS', 'EDITS', 'LOSSES', 'MASKS', 'attack_settings', 'bounded_ascent', 'eval_mode', 'pgd',
           'sample_loss']
