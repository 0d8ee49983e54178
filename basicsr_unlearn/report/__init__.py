"""What people look at: tables, charts and pages, made from structured results."""
import basicsr_unlearn.plugin  # noqa: F401  makes BasicSR importable, registers the components
