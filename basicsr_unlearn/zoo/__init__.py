"""Shipped checkpoints, and checkpoints of any origin: containers and the networks they are of."""
import basicsr_unlearn.plugin  # noqa: F401  makes BasicSR importable, registers the components
