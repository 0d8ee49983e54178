"""Losses: one `*_loss.py` each, registered on import; each is a plain function plus a thin module."""
from basicsr_unlearn.losses.adversarial_retain_loss import AdversarialRetainLoss
from basicsr_unlearn.losses.contrast_loss import ContrastLoss
from basicsr_unlearn.losses.feature_target_loss import FeatureTargetLoss
from basicsr_unlearn.losses.gradient_ascent_loss import GradientAscentLoss
from basicsr_unlearn.losses.perturbed_retain_loss import PerturbedRetainLoss
from basicsr_unlearn.losses.relearning_resistance_loss import RelearningResistanceLoss
from basicsr_unlearn.losses.target_loss import TargetLoss
from basicsr_unlearn.registration import import_suffixed

import_suffixed(__name__, __path__, '_loss')

__all__ = ['AdversarialRetainLoss', 'ContrastLoss', 'FeatureTargetLoss', 'GradientAscentLoss', 'PerturbedRetainLoss',
           'RelearningResistanceLoss', 'TargetLoss']
