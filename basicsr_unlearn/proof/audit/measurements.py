"""All measurements, registered in the order in which an audit makes them."""
from basicsr_unlearn.proof.audit import quality_measurement  # noqa: F401, I001
from basicsr_unlearn.proof.audit import membership_measurement  # noqa: F401
from basicsr_unlearn.proof.audit import learning_measurement  # noqa: F401
from basicsr_unlearn.proof.audit import inside_measurement  # noqa: F401
from basicsr_unlearn.proof.audit.registry import MEASUREMENTS, Measurement, SkippedError, measurement

__all__ = ['MEASUREMENTS', 'Measurement', 'SkippedError', 'measurement']
