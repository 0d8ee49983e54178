"""Anchors: what holds the weights, one `*_anchor.py` each."""
from basicsr_unlearn.core.registration import import_suffixed

import_suffixed(__name__, __path__, '_anchor')
