import math

import pytest
from markupsafe import escape

from basicsr_unlearn.report.charts import AxisRow, Line, apart, axis_around, line_chart, rows_chart, signed, ticks
from basicsr_unlearn.report.drawing import Drawing, Shape


def of(drawing: Drawing, kind: str, css: str) -> list[Shape]:
    return [shape for shape in drawing.shapes if shape.kind == kind and shape.css == css]


def words(drawing: Drawing) -> list[str]:
    return [shape.string for shape in drawing.shapes if shape.kind == 'text']


def test_a_curve_stands_in_the_middle_of_its_range_and_steps_on_their_scale():
    points, ranges = [(0, 10.0), (9, 14.0), (99, 18.0)], [(10.0, 10.0), (13.0, 15.0), (17.0, 19.0)]
    drawing = line_chart([Line('unlearned', 'unlearned', points, ranges)], {}, 'spoken', 'step', [0, 9, 99], math.log1p)
    a, b, c = (shape.points[0] for shape in of(drawing, 'circle', 'point unlearned'))
    assert (b[0] - a[0]) / (c[0] - a[0]) == pytest.approx(0.5)  # log 10 of log 100
    (band,) = of(drawing, 'polygon', 'band unlearned')
    assert len(band.points) == 6 and band.points[0] == band.points[-1] == a
    assert (band.points[1][1] + band.points[-2][1]) / 2 == pytest.approx(b[1])
    assert 'unlearned 18.0' in words(drawing)


def test_references_lie_on_the_scale_of_the_curve():
    drawing = line_chart([Line('unlearned', 'unlearned', [(0, 21.0), (50, 16.0), (200, 11.0)])],
                         {'original': 21.0, 'retrained': 12.0}, '', 'step', [0, 200])
    (x0, y0), (x1, y1), (x2, y2) = of(drawing, 'line', 'line unlearned')[0].points
    assert (x1 - x0) / (x2 - x0) == pytest.approx(50 / 200)
    assert (y1 - y0) / (y2 - y0) == pytest.approx(0.5) and y2 > y0  # a lower PSNR is farther down
    assert of(drawing, 'line', 'ref original')[0].points[0][1] == y0
    assert of(drawing, 'line', 'ref retrained')[0].points[0][1] == pytest.approx(y2 - (y2 - y0) / 10)


def test_ticks_that_would_touch_get_no_number():
    drawing = line_chart([Line('unlearned', 'unlearned', [(0, 1.0), (1000, 2.0)])], {}, '', 'step', [0, 500, 990, 1000])
    assert {'0', '500', '1,000'} <= set(words(drawing)) and '990' not in words(drawing)


def test_rows_are_to_scale_and_a_single_value_has_no_interval():
    rows = [AxisRow('threshold', 'head'), AxisRow('unlearned', 'unlearned', (0.75, 0.5, 1.0)),
            AxisRow('original', 'original', (0.25, None, None), [0.0, 1.0])]
    drawing = rows_chart(rows, 'spoken', axis=(0, 1), line=0.5)
    (low, _), (high, _) = of(drawing, 'line', 'span unlearned')[0].points
    mark = of(drawing, 'circle', 'unlearned')[0].points[0][0]
    dots = [shape.points[0][0] for shape in of(drawing, 'circle', 'dot original')]
    assert mark == pytest.approx((low + high) / 2) and high == pytest.approx(max(dots))
    (at, _), (again, _) = of(drawing, 'line', 'span original')[0].points
    assert at == again == pytest.approx(dots[0] + (dots[1] - dots[0]) / 4)
    assert of(drawing, 'line', 'grid zero')[0].points[0][0] == pytest.approx(low)


def test_a_drawing_escapes_what_it_is_told():
    drawing = Drawing(100, 50, 'a "<b>')
    drawing.text('"x', (1, 2), '<i>')
    drawing.circle('dot', (3, 4), 5, '<u>')
    svg = drawing.__html__()
    assert not any(tag in svg for tag in ('<b>', '<i>', '<u>', '""x')) and 'cx="3.0" cy="4.0" r="5"' in svg
    assert escape(drawing) == svg  # a template takes it as it is


def test_labels_are_moved_apart_within_bounds():
    assert apart([10, 50, 90], 13, 0, 100) == [10, 50, 90]
    placed = apart([95, 94, 96, 20], 13, 0, 100)
    assert sorted(range(4), key=lambda i: placed[i]) == [3, 1, 0, 2]
    assert placed == [87, 74, 100, 20]


def test_numbers_have_a_true_minus_but_nothing_has_none():
    assert [signed(-1.5), signed(-0.004, 2), signed(2.0, 1), signed(-0.0)] == ['−1.5', '0.00', '2.0', '0']


def test_ticks_are_round_and_span():
    assert ticks(0, 1, 6) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(-3, 12, 5) == [-5, 0, 5, 10, 15]
    assert len(ticks(0, 0, 6)) == len(ticks(12.34, 12.34)) == 2  # an axis has two ends


def test_an_axis_of_differences_has_0_and_is_no_magnifying_glass():
    assert axis_around([0.0, 0.01], 'dB') == (-0.6, 0.6) and axis_around([1.0, 4.7], 'dB') == (-1, 5)
    low, high = axis_around([0.0, 0.002], '')
    assert low == 0 and 0.002 <= high < 0.004


def test_a_row_may_have_rings_a_span_and_words_at_its_end():
    drawing = rows_chart([AxisRow('a', 'unlearned', (1.0, None, None), rings=(0.0, 0.5), span=(-0.5, 1.0), told='-4')],
                         '', (-1, 1), 0.5, line_name='limit')
    rings, (dot,) = of(drawing, 'circle', 'ring'), of(drawing, 'circle', 'unlearned')
    (span,) = of(drawing, 'polygon', 'band retrained')
    assert [ring.points[0][0] for ring in rings] == pytest.approx([
        (span.points[0][0] * 2 + dot.points[0][0]) / 3, (span.points[0][0] + dot.points[0][0] * 2) / 3])
    assert {'limit 0.5', '−4'} <= set(words(drawing)) and '1.00' not in words(drawing)
