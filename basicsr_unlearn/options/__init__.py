"""The option file: how it is read, what it may hold, what it comes to."""
import basicsr_unlearn.plugin  # noqa: F401  makes BasicSR importable, registers the components
