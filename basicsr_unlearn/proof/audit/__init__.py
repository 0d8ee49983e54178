"""An audit of one unlearned network: its plan, measurements and verdict."""
import basicsr_unlearn.plugin  # noqa: F401  makes BasicSR importable, registers the components
