"""Datasets: one `*_dataset.py` each, registered on import; degradations are plain functions beside them."""
import basicsr_unlearn.plugin  # noqa: F401  makes BasicSR importable, registers the components
from basicsr_unlearn.core.registration import import_suffixed

import_suffixed(__name__, __path__, '_dataset')
