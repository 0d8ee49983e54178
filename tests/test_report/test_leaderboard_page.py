"""The leaderboard's page, from a board that was made by hand."""
from math import asinh

import pytest
from html_page import Page

from basicsr_unlearn.core.leads import Trail
from basicsr_unlearn.proof.benchmark.leaderboard import Contest, target_board
from basicsr_unlearn.report.leaderboard_page import (
    GOAL_LOSS,
    LABEL_H,
    LABEL_W,
    RADIUS,
    label_places,
    standing_of_methods,
    write_leaderboard,
)


def cell(name: str, haze: float, rain: float, **more) -> dict:
    trail = Trail('plain', 'plain', 8, {10: [haze]})
    run = {'steps': 200, 'batch': 8, 'patch': 64, 'passes': {'student_forward': 1600, 'student_backward': 1600},
           'seconds': 30, 'memory_mb': 700}
    return {'name': name, 'seed': 0, 'scores': {task: {'a': psnr} for task, psnr in (('haze', haze), ('rain', rain))},
            'trails': [trail.record()], 'left_out': [], 'run': run, **more}


ORIGINAL = {**cell('original', 20, 30), 'identity': {'haze': {'a': 9.5}, 'rain': {'a': 20}}}


def board() -> dict:
    return target_board(Contest('haze', {'steps': 20000, 'batch': 8}, 64), ORIGINAL, [cell('', 11, 31)], [
        cell('over', 9, 30), cell('good', 11, 29.8), cell('good', 12, 29.8, seed=1),
        {'name': 'broken', 'seed': 2, 'error': 'It has <diverged>.'}])


def test_the_page_stands_alone_and_shows_every_number(tmp_path):
    renamed, unjudged = board(), {**board(), 'judged': False, 'reason': 'Nothing to forget.'}
    renamed['rows'][1]['name'] = '<b>evil'
    summary = {'name': 'tiny', 'version': '0.1', 'seeds': [0, 1],
               'targets': {'haze': board(), 'haze again': renamed, 'weak': unjudged},
               'attacks': {'pairs': [8], 'steps': [10], 'quick': True}, 'retraining': {'steps': 20000, 'batch': 8}}
    write_leaderboard(tmp_path, summary, 'name: tiny  # <& "quoted">\n')
    page = Page(tmp_path / 'leaderboard.html')
    assert page.stands_alone() and not page.all('script') and len(page.all('svg')) == 2
    assert len(page.all('table')) == 3  # one of all targets
    for shown in ('Forgetting haze', '<b>evil', '11.50 ± 0.71', 'It has <diverged>.', '20,000 steps of 8',
                  'Nothing to forget.', '# <& "quoted">'):
        assert shown in page.words, shown
    written = (tmp_path / 'leaderboard.md').read_text(encoding='utf-8')
    for shown in ('## haze', '<b>evil', '11.50 ± 0.71', 'It has <diverged>.', 'Nothing to forget.'):
        assert shown in written, shown


def test_the_picture_is_to_scale():
    drawing = standing_of_methods(board())
    at = {shape.css.split()[1]: shape.points[0] for shape in drawing.shapes if shape.css.startswith('disc')}
    over, good = (shape.points[0] for shape in drawing.shapes if shape.string.startswith(('over:', 'good:')))
    (zero_x, _), (_, zero_y) = (shape.points[0] for shape in drawing.shapes if shape.css == 'grid zero')
    assert at['retrained'][0] == pytest.approx(zero_x) and at['original'][1] == over[1] == pytest.approx(zero_y)
    assert (zero_x - over[0]) / (at['original'][0] - zero_x) == pytest.approx(asinh(2 / 0.1) / asinh(9 / 0.1))
    goal = next(shape for shape in drawing.shapes if shape.css == 'goal')
    assert pytest.approx(0.2) == GOAL_LOSS and good[1] == pytest.approx(goal.points[0][1])


def test_labels_cover_neither_dots_nor_each_other():
    dots = [(300 + 7 * (i % 4), 200 + 5 * (i // 4)) for i in range(12)] + [(740, 30)]
    names = [f'method_{i}' for i in range(12)] + ['at_the_edge']
    places = label_places(dots, names)
    boxes = [(left, top, left + LABEL_W * len(name), top + LABEL_H) for place, name in zip(places, names) if place
             for left, top in [place]]
    assert len(boxes) >= 10
    boxes += [(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in dots]
    labels = len(boxes) - len(dots)
    assert not any(i != j and a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
                   for i, a in enumerate(boxes[:labels]) for j, b in enumerate(boxes))
    assert all(0 < box[0] and box[2] < 760 for box in boxes[:labels])
