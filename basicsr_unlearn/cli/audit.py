"""The command `basicsr-unlearn audit`: measure, judge, write."""
import sys
from pathlib import Path

from basicsr_unlearn.engine.entry import INTERRUPTED, Parser, guarded
from basicsr_unlearn.engine.running import BAD_INPUT
from basicsr_unlearn.files import write_json, write_text
from basicsr_unlearn.proof.audit.audit_plan import read_audit
from basicsr_unlearn.proof.audit.auditing import audit_strips, make_audit
from basicsr_unlearn.proof.audit.context import Context
from basicsr_unlearn.proof.audit.level_checks import spent_words
from basicsr_unlearn.proof.audit.self_check import self_check
from basicsr_unlearn.proof.words import enumerated
from basicsr_unlearn.report.audit_findings import audit_findings
from basicsr_unlearn.report.audit_tensorboard import write_tensorboard
from basicsr_unlearn.report.audit_text import audit_markdown, audit_summary
from basicsr_unlearn.report.pages import write_findings
from basicsr_unlearn.report.still import check_still, write_still
from basicsr_unlearn.report.tables import number, plain_lines

AUDIT_HELP = """\
An audit measures what a network has forgotten, what it has kept and what its
weights still hold, and judges it.

It needs an option file that names the original, the unlearned network, networks
that were retrained without the forget set (the yardstick; where there is none,
the untouched input is) and images to forget and to keep. The one that is
shipped is of a network that forgot haze. It needs BSD500, CBSD68, SOTS-indoor
and Rain100H laid out as docs/data.md shows:

  basicsr-unlearn train -opt options/unlearn_haze_calibrated.yml
  basicsr-unlearn audit -opt options/audit_haze.yml --quick
      with the three strongest attackers: what they find is left, but what they
      do not find may be; 2 minutes of processor time a network
  basicsr-unlearn audit -opt options/audit_haze.yml
      with all of them: half an hour of it a network, and the next audit of
      a network of the same method attacks that one alone
  basicsr-unlearn audit -opt options/audit_haze.yml --self-check
      do the attackers tell a retrained network from the original?

Exit code 0 if the level that the file requires was passed, 1 if not, 2 where
nothing was audited, as now."""
NOT_PASSED = 1


def main(argv: list[str] | None = None) -> int:
    """Audit as an option file says; 0 if the required level was passed, 1 if not, 2 for bad input."""
    return guarded(lambda: _main(argv))


def _main(argv: list[str] | None) -> int:
    parser = Parser(prog='basicsr-unlearn audit', description='Measure what was forgotten, what was kept and what '
                    'still sleeps in the weights, and judge it. Exit code 0 if the level that the file requires was '
                    'passed, 1 if not. What is measured is not measured again.')
    parser.add_argument('-opt', metavar='FILE.yml', help="the audit's option file, such as options/audit_haze.yml; "
                        'without it the command says what it needs, exit code 2')
    parser.add_argument('--quick', action='store_true', help='scores and the three strongest attackers alone, to a '
                        'folder of its own: what they cannot tell is not shown')
    parser.add_argument('--self-check', action='store_true', help='attack the retrained networks and the original '
                        'instead, as if each were the unlearned one, and say whether the attackers tell them apart; '
                        'exit code 0 if they do, 1 if not')
    parser.add_argument('--force_yml', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override options of the file, such as name=mine networks:unlearned=FILE.pth')
    parser.add_argument('--picture', metavar='FILE.png', help='write the verdict, the charts that decide and a strip '
                        'of photographs for each set as a picture too (.png, .jpg or .webp)')
    args = parser.parse_args(argv)
    if args.picture:
        check_still(args.picture)
    if args.opt is None:
        print(AUDIT_HELP)
        return BAD_INPUT
    plan = read_audit(args.opt, args.force_yml, args.quick)
    context = Context(plan)
    for column in ('original', *plan.retrained) if args.self_check else context.columns:
        context.net(column)  # what cannot be loaded is said before anything is measured
    try:
        if args.self_check:
            return _self_check(context)
        audit = make_audit(context)
    except KeyboardInterrupt:
        print('Interrupted: the same command goes on with what is missing.', file=sys.stderr, flush=True)
        return INTERRUPTED
    paths = write(context, audit, args.picture)
    print(f'\n{audit_summary(audit)}\n')
    print('\n'.join(map(str, paths)), flush=True)
    return 0 if audit['verdict']['passed'] else NOT_PASSED


def _self_check(context: Context) -> int:
    """Print what the attackers make of known networks; 0 if each is called what it is, else 1."""
    print(f'Self-check {context.audit.name}: {", ".join(context.audit.retrained)} and original, each attacked as if it '
          'were the unlearned network.', flush=True)
    rows, unit = self_check(context), context.audit.yardstick.unit
    shown = [[row.network, row.family, number(row.lead.beyond, sign=True), row.wanted,
              'passed' if row.passed else 'failed', f'{row.lead.attacker}, {spent_words(vars(row.lead))}']
             for row in rows]
    head = ['network', 'attackers', f'lead{f" in {unit}" if unit else ""}', 'has to be', 'state', 'by']
    print('\n' + '\n'.join(plain_lines([head, *shown], 6)) + '\n')
    wrong = [row for row in rows if not row.passed]
    print('Passed: the attackers tell the original from retrained networks, and those from nothing.' if not wrong else
          f'Failed: {enumerated([f"{row.network} ({row.family})" for row in wrong])} '
          f'{"is" if len(wrong) == 1 else "are"} not called what {"it is" if len(wrong) == 1 else "they are"}.',
          flush=True)
    return NOT_PASSED if wrong else 0


def write(context: Context, audit: dict, picture: str | None = None) -> list[Path]:
    """Write audit.json, audit.md, report.html, the TensorBoard log and, where asked for, a picture; their paths."""
    out, strips = context.audit.out, audit_strips(context, audit)
    write_json(out / 'audit.json', audit)
    write_text(out / 'audit.md', audit_markdown(audit))
    found = audit_findings(audit, strips)
    write_findings(out / 'report.html', found)
    write_tensorboard(out / 'tb_logger', audit, strips)
    if picture:
        write_still(picture, found)
    return [out / 'report.html', out / 'audit.md', out / 'audit.json', out / 'tb_logger',
            *([Path(picture)] if picture else [])]


if __name__ == '__main__':
    sys.exit(main())
