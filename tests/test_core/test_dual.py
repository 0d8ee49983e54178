"""The dual weight rises beyond the budget, falls below it, and stays within its limits."""
import pytest

from basicsr_unlearn.core.dual import DualWeight


def test_moves_by_step_size_times_the_excess():
    dual = DualWeight(retain_budget=0.1, step_size=2.0, start=1.0)
    dual.observe(0.6)
    assert dual.value == pytest.approx(2.0)  # 1 + 2 (0.6 - 0.1)
    dual.observe(0.0)
    assert dual.value == pytest.approx(1.8)


def test_limits():
    dual = DualWeight(retain_budget=1.0, step_size=1.0, start=0.5, maximum=3.0)
    dual.observe(-5)
    assert dual.value == 0
    dual.observe(100)
    assert dual.value == 3.0


@pytest.mark.parametrize(('options', 'name'), [
    ({'retain_budget': -1}, 'retain_budget'), ({'step_size': 0}, 'step_size'), ({'start': 5, 'maximum': 2}, 'maximum')])
def test_refused(options, name):
    with pytest.raises(ValueError, match=name):
        DualWeight(**options)
