"""Losses: one `*_loss.py` each, registered on import; each is a plain function plus a thin module."""
import basicsr_unlearn.plugin  # noqa: F401  makes BasicSR importable, registers the components
from basicsr_unlearn.core.losses.adversarial_retain_loss import AdversarialRetainLoss
from basicsr_unlearn.core.losses.contrast_loss import ContrastLoss
from basicsr_unlearn.core.losses.feature_target_loss import FeatureTargetLoss
from basicsr_unlearn.core.losses.gradient_ascent_loss import GradientAscentLoss
from basicsr_unlearn.core.losses.perturbed_retain_loss import PerturbedRetainLoss
from basicsr_unlearn.core.losses.relearning_resistance_loss import RelearningResistanceLoss
from basicsr_unlearn.core.losses.target_loss import TargetLoss
from basicsr_unlearn.core.registration import import_suffixed

import_suffixed(__name__, __path__, '_loss')

__all__ = ['AdversarialRetainLoss', 'ContrastLoss', 'FeatureTargetLoss', 'GradientAscentLoss', 'PerturbedRetainLoss',
           'RelearningResistanceLoss', 'TargetLoss']
