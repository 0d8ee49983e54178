"""Run all sections, or those named, and print how many cases each tried and how many failed; exit code 1 if any."""
import argparse
import importlib
import sys
import time
import traceback

from tests.torture import Section

SECTIONS = {'records': 60, 'option_files': 210, 'images': 130, 'disks': 100, 'kills': 300}  # seconds


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m tests.torture', description=__doc__)
    parser.add_argument('sections', nargs='*', metavar='SECTION', help=f'of {", ".join(SECTIONS)}; default all')
    parser.add_argument('--budget', type=float, metavar='SECONDS', help='for each section, in place of its own')
    args = parser.parse_args(argv)
    unknown = set(args.sections) - set(SECTIONS)
    if unknown:
        parser.error(f'no section {unknown.pop()}')
    found = []
    for name in args.sections or SECTIONS:
        begin = time.perf_counter()
        try:
            section = importlib.import_module(f'tests.torture.{name}').run(args.budget or SECTIONS[name])
        except Exception:
            section = Section(name, 0, ['the section itself failed:\n' + traceback.format_exc()])
        found.append((section, time.perf_counter() - begin))
        for failure in section.failures:
            print(f'  FAILED {failure}', flush=True)
        print(row(*found[-1]), flush=True)
    print(f'\n{"section":<16}{"cases":>8}{"failures":>10}{"seconds":>9}')
    print('\n'.join(row(*entry) for entry in found))
    return int(any(section.failures for section, _ in found))


def row(section: Section, seconds: float) -> str:
    return f'{section.name:<16}{section.cases:>8}{len(section.failures):>10}{seconds:>9.0f}'


if __name__ == '__main__':
    sys.exit(main())
