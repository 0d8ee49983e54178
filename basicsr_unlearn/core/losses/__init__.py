"""Losses: one `*_loss.py` each, entered in the table LOSSES; each is a plain function plus a thin module."""
from basicsr_unlearn.core.losses.adversarial_retain_loss import AdversarialRetainLoss
from basicsr_unlearn.core.losses.connectivity_loss import ConnectivityLoss
from basicsr_unlearn.core.losses.contrast_loss import ContrastLoss
from basicsr_unlearn.core.losses.feature_target_loss import FeatureTargetLoss
from basicsr_unlearn.core.losses.gradient_ascent_loss import GradientAscentLoss
from basicsr_unlearn.core.losses.perturbed_retain_loss import PerturbedRetainLoss
from basicsr_unlearn.core.losses.pixel_loss import CharbonnierLoss, L1Loss, MSELoss
from basicsr_unlearn.core.losses.relearning_resistance_loss import RelearningResistanceLoss
from basicsr_unlearn.core.losses.sharpness_aware_ascent_loss import SharpnessAwareAscentLoss
from basicsr_unlearn.core.losses.target_loss import TargetLoss
from basicsr_unlearn.core.registration import import_suffixed

import_suffixed(__name__, __path__, '_loss')

__all__ = ['AdversarialRetainLoss', 'CharbonnierLoss', 'ConnectivityLoss', 'ContrastLoss', 'FeatureTargetLoss',
           'GradientAscentLoss', 'L1Loss', 'MSELoss', 'PerturbedRetainLoss', 'RelearningResistanceLoss',
           'SharpnessAwareAscentLoss', 'TargetLoss']
