"""The command `basicsr-unlearn show`: an option file with its method spelt out."""
from basicsr_unlearn.entry import Parser, guarded, read_options
from basicsr_unlearn.option_text import option_text
from basicsr_unlearn.options import check_options


def main(argv: list[str] | None = None) -> int:
    """Print the option file that `train.method` and `--force_yml` come to; 0, or 2 for bad input."""
    return guarded(lambda: _main(argv))


def _main(argv: list[str] | None) -> int:
    parser = Parser(prog='basicsr-unlearn show', description='Print an option file with its method spelt out, as a '
                    'complete option file, after checking it.')
    parser.add_argument('-opt', required=True, metavar='FILE.yml', help='the option file')
    parser.add_argument('--force_yml', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override options of the file, as in train')
    args = parser.parse_args(argv)
    opt = read_options(args.opt, args.force_yml)
    check_options(opt, is_train='train' in opt)
    print(option_text(opt), end='')
    return 0
