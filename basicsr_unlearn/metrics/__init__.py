"""Metrics beside BasicSR's: in files called *_metric.py, found by their suffix."""
import basicsr_unlearn.plugin  # noqa: F401  makes BasicSR importable, registers the components
from basicsr_unlearn.core.registration import import_suffixed

import_suffixed(__name__, __path__, '_metric')
