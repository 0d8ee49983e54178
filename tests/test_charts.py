import math
import re

import pytest

from basicsr_unlearn.report.charts import Line, Row, line_chart, rows_chart, signed, spread, ticks


def numbers(pattern: str, text: str) -> list[tuple[float, ...]]:
    return [tuple(map(float, found.groups())) for found in re.finditer(pattern, text)]


def test_a_curve_stands_in_the_middle_of_its_range_and_steps_on_their_scale():
    points, ranges = [(0, 10.0), (9, 14.0), (99, 18.0)], [(10.0, 10.0), (13.0, 15.0), (17.0, 19.0)]
    svg = line_chart([Line('unlearned', 'unlearned', points, ranges)], {}, 'spoken', 'step', [0, 9, 99], math.log1p)
    a, b, c = numbers(r'<circle class="point unlearned" cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert (b[0] - a[0]) / (c[0] - a[0]) == pytest.approx(0.5, abs=0.002)  # log 10 of log 100
    band = numbers(r'([\d.]+),([\d.]+)', re.search(r'<polygon class="band unlearned" points="([^"]*)"', svg)[1])
    assert len(band) == 6 and band[0] == band[-1] == a
    assert (band[1][1] + band[-2][1]) / 2 == pytest.approx(b[1], abs=0.1)
    assert '>unlearned 18.0<' in svg


def test_ticks_that_would_touch_get_no_number():
    svg = line_chart([Line('unlearned', 'unlearned', [(0, 1.0), (1000, 2.0)])], {}, '', 'step', [0, 500, 990, 1000])
    assert '>0<' in svg and '>500<' in svg and '>1,000<' in svg and '>990<' not in svg


def test_rows_are_to_scale_and_a_single_value_has_no_interval():
    rows = [Row('threshold', 'head'), Row('unlearned', 'unlearned', (0.75, 0.5, 1.0)),
            Row('original', 'original', (0.25, None, None), [0.0, 1.0])]
    svg = rows_chart(rows, 'a <b>', axis=(0, 1), line=0.5)
    (low, high), = numbers(r'<line class="span unlearned" x1="([\d.]+)" x2="([\d.]+)"', svg)
    (mark,), = numbers(r'<circle class="unlearned" cx="([\d.]+)"', svg)
    dots = [x for x, in numbers(r'<circle class="dot original" cx="([\d.]+)"', svg)]
    assert mark == pytest.approx((low + high) / 2, abs=0.1) and high == max(dots)
    (at, again), = numbers(r'<line class="span original" x1="([\d.]+)" x2="([\d.]+)"', svg)
    assert at == again == pytest.approx(dots[0] + (dots[1] - dots[0]) / 4, abs=0.1)
    assert numbers(r'<line class="grid zero" x1="([\d.]+)"', svg) == [(low,)]
    assert 'aria-label="a &lt;b&gt;"' in svg


def test_labels_are_moved_apart_within_bounds():
    assert spread([10, 50, 90], 13, 0, 100) == [10, 50, 90]
    placed = spread([95, 94, 96, 20], 13, 0, 100)
    assert sorted(range(4), key=lambda i: placed[i]) == [3, 1, 0, 2]
    assert placed == [87, 74, 100, 20]


def test_numbers_have_a_true_minus_but_nothing_has_none():
    assert [signed(-1.5), signed(-0.004, 2), signed(2.0, 1), signed(-0.0)] == ['−1.5', '0.00', '2.0', '0']


def test_ticks_are_round_and_span():
    assert ticks(0, 1, 6) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(-3, 12, 5) == [-5, 0, 5, 10, 15]
