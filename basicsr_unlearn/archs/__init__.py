"""Architectures: one `*_arch.py` each, registered on import."""
import basicsr_unlearn.plugin  # noqa: F401  makes BasicSR importable, registers the components
from basicsr_unlearn.core.registration import import_suffixed

import_suffixed(__name__, __path__, '_arch')
