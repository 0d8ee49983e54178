"""What the demo adds to the report of a run: learning again, and another method beside it."""
from collections.abc import Mapping
from html import escape

from basicsr_unlearn.proof.run_record import yardstick_of_record
from basicsr_unlearn.report.charts import Line, line_chart
from basicsr_unlearn.report.run_end import FinishedRun
from basicsr_unlearn.report.score_table import columns_of, difference


def relearning_section(curves: Mapping[str, Mapping[str, Mapping[int, float]]], record: Mapping, cure: str) -> str:
    """Charts of the forget sets learned again; '' without any.

    Args:
        curves: forget set -> network -> step -> score.
        record: of the run.
        cure: the command that takes it further out.
    """
    if not curves:
        return ''
    charts = ''.join(f'<figure class="forget"><h3>{escape(name)}</h3>{_chart(name, by)}</figure>'
                     for name, by in curves.items())
    return ('<section><h2>Learned again</h2><p>Outputs do not show what sleeps in the weights, so each network was '
            f'trained on {record["relearning"]["pairs"]} forget pairs for a few steps (Adam, learning rate '
            f'{record["relearning"]["lr"]:g}). One that never had the skill learns as the retrained network does; what '
            'rises sooner still had it. This is a short look: the audit attacks harder.</p>'
            f'<div class="charts">{charts}</div><p>Further out of the weights, at more cost: '
            f'<code>{escape(cure)}</code></p></section>')


def _chart(name: str, by: Mapping[str, Mapping[int, float]]) -> str:
    css = {'unlearned': 'unlearned', 'retrained': 'retrained'}
    lines = [Line(column, css.get(column, 'beside'), sorted(curve.items())) for column, curve in by.items()]
    steps = sorted(next(iter(by.values())))
    return line_chart(lines, {}, f'{name}: ' + ', '.join(
        f'{line.label} from {line.points[0][1]:.2f} to {line.points[-1][1]:.2f} dB' for line in lines),
        'steps of learning again', steps, width=560)


def beside_section(run: FinishedRun) -> str:
    """The verdict and the scores of another method's run."""
    record = run.record
    metric, yardstick = yardstick_of_record(record)
    rows, columns = [], columns_of([entry['scores'].get(metric, {}) for entry in record['datasets'].values()])
    digits = 2 if yardstick.unit == 'dB' else 4
    for name, entry in record['datasets'].items():
        scores = entry['scores'].get(metric, {})
        cells = ''.join(f'<td>{f"{scores[column]:.{digits}f}" if column in scores else "–"}</td>' for column in columns)
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{cells}'
                    f'<td>{escape(difference(entry["role"], scores, yardstick))}</td></tr>')
    head = ''.join(f'<th scope="col">{escape(column)}</th>' for column in columns)
    return (f'<section><h2>Beside it: {escape(record["method"])}, the published way</h2>'
            f'<p>{escape(" ".join(record["headline"]))} {escape(record["verdict"])} {record["steps"]} steps, ended by: '
            f'{escape(record["ended_by"])}. Option file: <code>{escape(run.option_file)}</code>.</p>'
            f'<div class="scroll"><table><thead><tr class="head"><th>{escape(yardstick.name)}</th>{head}<th></th></tr>'
            f'</thead><tbody>{"".join(rows)}</tbody></table></div></section>')
