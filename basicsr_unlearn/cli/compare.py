"""The command `basicsr-unlearn compare`: several audits side by side."""
import shutil
import sys
import textwrap
from pathlib import Path

from basicsr_unlearn.engine.entry import Parser, guarded
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.files import write_json
from basicsr_unlearn.proof.audit.audit_file import read_audit_file
from basicsr_unlearn.report.audit_figures import Row, differences, key_figures
from basicsr_unlearn.report.pages import write_page
from basicsr_unlearn.report.tables import Table, side_by_side

WIDEST_TABLE = 120  # of the table in characters, less in a narrower terminal
LEGEND = ('Forget gap: how far the score lies outside the range of the retrained networks, or from the identity '
          'baseline where there is none. Lead: what the best attacker reaches over the mean of the retrained networks, '
          'attacked with as many pairs and steps; beyond: over the best of them.')
CARE = 'These audits differ in what they stand on: mind the warnings before you compare their numbers.'


def main(argv: list[str] | None = None) -> int:
    """Compare the audits that `argv` names; 0, or 2 for bad input."""
    return guarded(lambda: _main(argv))


def _main(argv: list[str] | None) -> int:
    parser = Parser(prog='basicsr-unlearn compare', description='Several audits side by side.')
    parser.add_argument('files', nargs='+', metavar='audit.json', help='two or more, as basicsr-unlearn audit writes '
                                                                       'them')
    parser.add_argument('--out', metavar='FOLDER', help='write compare.html, compare.md and compare.json there '
                        'too')
    args = parser.parse_args(argv)
    if len(args.files) < 2:
        raise OptionError(f'{args.files[0]} is the only audit given: name two or more to compare.')
    audits = [read_audit_file(file) for file in args.files]
    names = unique_names(args.files, audits)
    rows, warnings = key_figures(audits), differences(names, audits)
    if args.out:  # first, so that nothing is shown for good where it cannot be written
        folder = Path(args.out)
        write_json(folder / 'compare.json', {
            'schema': 1, 'warnings': warnings,
            'audits': [{'name': name, 'file': file} for name, file in zip(names, args.files)],
            'rows': [{'section': row.section, 'label': row.label, 'values': row.values} for row in rows]})
        write_pages(folder, names, rows, warnings)
    for warning in warnings:
        print(f'Warning: {warning}', file=sys.stderr, flush=True)
    width = min(WIDEST_TABLE, shutil.get_terminal_size((WIDEST_TABLE, 40)).columns)
    print(side_by_side(names, [(row.section, row.label, row.cells()) for row in rows], width))
    for note in [LEGEND, *([CARE] if warnings else [])]:
        print('\n' + textwrap.fill(note, width))
    if args.out:
        print(f'\nWritten to {folder}: compare.html, compare.md and compare.json.')
    return 0


def unique_names(files: list[str], audits: list[dict]) -> list[str]:
    """The audits' names, equal ones with the part of their paths in which they differ.

    Raises:
        OptionError: one file is given twice.
    """
    names = [audit['name'] for audit in audits]
    paths = [Path(file).resolve() for file in files]
    for position, path in enumerate(paths):
        if path in paths[:position]:
            raise OptionError(f'{files[position]} is given twice: name each audit once.')
    unique = list(names)
    for name in {name for name in names if names.count(name) > 1}:
        group = [position for position, other in enumerate(names) if other == name]
        parts = [paths[position].parts for position in group]
        while len({part[-1] for part in parts}) == 1:
            parts = [part[:-1] for part in parts]
        depth = next(depth for depth in range(1, max(map(len, parts)) + 1)
                     if len({part[-depth:] for part in parts}) == len(parts))
        for position, part in zip(group, parts):
            unique[position] = f'{name} ({"/".join(part[-depth:])})'
    return unique


def write_pages(folder: Path, names: list[str], rows: list[Row], warnings: list[str]) -> None:
    """Write compare.md, one table, and compare.html, one for each section. Raises OptionError."""
    whole = Table(['', *names], [[f'{row.section}: {row.label}' if row.section else row.label, *row.cells()]
                                 for row in rows])
    sections = {row.section: [] for row in rows}
    for row in rows:
        sections[row.section].append([row.label, *row.cells()])
    about = {'warnings': warnings, 'legend': LEGEND}
    write_page(folder / 'compare.md', 'compare.md', table=whole, **about)
    write_page(folder / 'compare.html', 'compare.html', title='Audits side by side', **about,
               tables=[(section, Table(['', *names], cells)) for section, cells in sections.items()])
