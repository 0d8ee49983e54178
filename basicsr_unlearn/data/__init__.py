"""Datasets: one `*_dataset.py` each, registered on import; degradations are plain functions beside them."""
from basicsr_unlearn.registration import import_suffixed

import_suffixed(__name__, __path__, '_dataset')
