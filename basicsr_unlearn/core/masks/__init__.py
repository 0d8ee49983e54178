"""Masks: which weights may move, one `*_mask.py` each."""
from basicsr_unlearn.core.registration import import_suffixed

import_suffixed(__name__, __path__, '_mask')
