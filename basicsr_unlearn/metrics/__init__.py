"""Metrics beside BasicSR's: in files called *_metric.py, found by their suffix."""
from basicsr_unlearn.registration import import_suffixed

import_suffixed(__name__, __path__, '_metric')
