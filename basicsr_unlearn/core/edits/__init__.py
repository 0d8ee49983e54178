"""Edits: changes of the weights before the first step, one `*_edit.py` each."""
from basicsr_unlearn.core.registration import import_suffixed

import_suffixed(__name__, __path__, '_edit')
