"""The command `basicsr-unlearn methods`. The presets themselves are the .yml files beside this one, see presets.py."""
from basicsr_unlearn.entry import Parser, guarded
from basicsr_unlearn.presets import FOLDER, method_names, read_method


def main(argv: list[str] | None = None) -> int:
    """List the presets, or print one; 0, or 2 for bad input."""
    return guarded(lambda: _main(argv))


def _main(argv: list[str] | None) -> int:
    parser = Parser(prog='basicsr-unlearn methods', description='List the methods that an option file can name as '
                    'train.method, or say more about one of them.')
    parser.add_argument('name', nargs='?', metavar='NAME', help='a method: prints its file')
    args = parser.parse_args(argv)
    if args.name:
        read_method(args.name)
        print((FOLDER / f'{args.name}.yml').read_text(encoding='utf-8'), end='')
        return 0
    rows = [('method', 'needs', 'cost of a step', 'what it does')]
    rows += [(name, *(read_method(name)[key] for key in ('needs', 'cost', 'about'))) for name in method_names()]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        print(*(f'{cell:<{width}}' for cell, width in zip(row, widths)), row[3], sep='  ')
    print('\nneeds: streams of the training data; retain may come from the forget pairs (retain_from: forget_gt).\n'
          'cost: arithmetic of a step against one of plain training, in the mean of 200.\n'
          '`basicsr-unlearn methods NAME` prints one, with its source.')
    return 0
