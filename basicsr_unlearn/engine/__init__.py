"""How BasicSR is run: its traps, the entry, preflight, resume, progress, the loop over images."""
import basicsr_unlearn.plugin  # noqa: F401  makes BasicSR importable, registers the components
