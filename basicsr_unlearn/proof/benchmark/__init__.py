"""Methods compared on one original: plan, cells, records, leaderboard."""
import basicsr_unlearn.plugin  # noqa: F401  makes BasicSR importable, registers the components
