"""Models: one `*_model.py` each, registered on import."""
from basicsr_unlearn.registration import import_suffixed

import_suffixed(__name__, __path__, '_model')
