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
    rows = [(name, read_method(name)) for name in method_names()]
    width = max(len(name) for name, _ in rows)
    needs = max(len(preset['needs']) for _, preset in rows)
    print(f'{"method":<{width}}  {"needs":<{needs}}  what it does; cost of a step against plain training')
    for name, preset in rows:
        print(f'{name:<{width}}  {preset["needs"]:<{needs}}  {preset["about"]}; {preset["cost"]}')
    return 0
