"""The ideas of unlearning as plain torch code, free of BasicSR, so that any trainer can use them.

`ascent`: per-sample losses and bounded gradient ascent. `attacks`: projected gradient ascent on the input.
`importance`: how much each weight matters. `*_edit`, `*_mask`, `*_anchor`: parts in the space of weights, found by
scanning and listed in `parts`.
"""
from basicsr_unlearn.core import anchors, edits, masks  # noqa: E402, F401  fills the registries
from basicsr_unlearn.core.ascent import BOUNDS, bounded_ascent, sample_loss
from basicsr_unlearn.core.attacks import attack_settings, pgd
from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.core.parts import ANCHORS, EDITS, MASKS

__all__ = ['ANCHORS', 'BOUNDS', 'EDITS', 'MASKS', 'attack_settings', 'bounded_ascent', 'eval_mode', 'pgd',
           'sample_loss']
