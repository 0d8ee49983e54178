"""The ideas of unlearning as plain torch code, free of BasicSR, so that any trainer can use them.

`ascent`: per-sample losses and bounded gradient ascent. `attacks`: projected gradient ascent on the input.
`importance`: how much each weight matters. `*_edit`, `*_mask`, `*_anchor`: parts in the space of weights, found by
scanning and listed in `parts`.
"""
from basicsr_unlearn.registration import import_suffixed
from basicsr_unlearn.unlearning.ascent import BOUNDS, bounded_ascent, sample_loss
from basicsr_unlearn.unlearning.attacks import attack_settings, eval_mode, pgd
from basicsr_unlearn.unlearning.parts import ANCHORS, EDITS, MASKS

for suffix in ('_edit', '_mask', '_anchor'):
    import_suffixed(__name__, __path__, suffix)

__all__ = ['ANCHORS', 'BOUNDS', 'EDITS', 'MASKS', 'attack_settings', 'bounded_ascent', 'eval_mode', 'pgd',
           'sample_loss']
