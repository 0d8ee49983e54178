"""The ideas of unlearning as plain torch code, free of BasicSR, so that any trainer can use them.

`ascent`: per-sample losses and bounded gradient ascent. `attacks`: projected gradient ascent on the input.
"""
from basicsr_unlearn.unlearning.ascent import BOUNDS, bounded_ascent, sample_loss
from basicsr_unlearn.unlearning.attacks import attack_settings, eval_mode, pgd

__all__ = ['BOUNDS', 'attack_settings', 'bounded_ascent', 'eval_mode', 'pgd', 'sample_loss']
