"""The command `basicsr-unlearn methods`. The presets themselves are the .yml files beside this one, see presets.py."""
from dataclasses import dataclass

from basicsr_unlearn.engine.entry import Parser, guarded
from basicsr_unlearn.engine.terminal import wrapped
from basicsr_unlearn.methods.presets import FOLDER, method_names, read_method


@dataclass(frozen=True)
class Advice:
    """What to take, with what the table in docs/results.md of haze, rain and noise says of it.

    Args:
        target: what is to be forgotten.
        take: the method.
        row: the method as the table calls it.
        cost: of the arithmetic of retraining, in percent.
        gap, lost: forget gap, largest loss elsewhere; in dB.
    """
    target: str
    take: str
    row: str
    cost: float
    gap: float
    lost: float


ADVICE = (
    Advice('haze', 'calibrated', 'calibrated', 2.3, 0.0, 0.12),
    Advice('haze', 'deep', 'deep', 10, 0.01, 0.24),
    Advice('rain', 'calibrated', 'calibrated', 2.3, 0.35, 0.13),
    Advice('rain', 'calibrated_proxy', 'calibrated, by proxy', 3.7, -0.09, 0.22),
    Advice('noise', 'calibrated', 'calibrated', 2.3, 1.91, 0.25),
    Advice('noise', 'calibrated, small steps', 'calibrated, small steps', 2.3, 0.37, 0.41))
COLUMNS = (
    ('cost', 'of the arithmetic of retraining'),
    ('gap', 'dB left above networks retrained without it'),
    ('lost', 'dB of the worst other set'))
WORDS = (
    ('Haze, a veil', 'start with calibrated (options/unlearn_haze_calibrated.yml): minutes, from the forget '
     'pairs and a simulator of each degradation that is to stay; the outputs alone, and as shipped 0.2 to 0.3 dB of '
     'heavy rain. deep (options/unlearn_haze_deep.yml) takes it out of the weights for the most part (learned again, '
     'up to 0.8 dB ahead of a retrained network), and needs retain data.'),
    ('Rain, noise', 'in the outputs alone (options/unlearn_rain.yml, options/unlearn_noise.yml). Nothing here takes '
     'them from the weights but training without them: ct hides rain, and with its kernels transposed back it is there '
     'again at once; resistant delays one attacker and deletes nothing.'),
    ('Chosen images', 'options/unlearn_images.yml. In small networks others of their kind fall with them.'))
SMALL_STEPS = ('small steps: 800 steps of a quarter of the batch, conflicting gradients reconciled; see '
               'options/benchmark_nafnet.yml.')


def main(argv: list[str] | None = None) -> int:
    """Say what to take, and list the presets; or print one. 0, or 2 for bad input."""
    return guarded(lambda: _main(argv))


def _main(argv: list[str] | None) -> int:
    parser = Parser(prog='basicsr-unlearn methods', description='Say which method to take for what, and list all that '
                    'an option file can name as train.method, or print one of them.')
    parser.add_argument('name', nargs='?', metavar='NAME', help='a method: prints its file')
    args = parser.parse_args(argv)
    if args.name:
        read_method(args.name)
        print((FOLDER / f'{args.name}.yml').read_text(encoding='utf-8'), end='')
        return 0
    print(f'{recommended()}\n\n{listed()}')
    return 0


def recommended() -> str:
    """What to take, by what is to be forgotten, with cost and risk."""
    rows = [('to forget', 'take', *(name for name, _ in COLUMNS))]
    rows += [(entry.target, entry.take, f'{entry.cost:g} %', f'{entry.gap:+.2f}', f'{entry.lost:.2f}')
             for entry in ADVICE]
    return '\n'.join([
        'What to take, by what is to be forgotten', '',
        *(wrapped(f'{what}: {words}', 2) for what, words in WORDS), '',
        *(f'{row[0]:<12}{row[1]:<26}' + ''.join(f'{cell:>8}' for cell in row[2:]) for row in rows), '',
        wrapped('Of the shipped NAFNet, mean of three seeds; what the numbers do not say is in docs/results.md.'),
        *(wrapped(f'{name:<6}{words}', 6) for name, words in COLUMNS), wrapped(SMALL_STEPS)])


def listed() -> str:
    """All presets: what each does, what it needs and costs."""
    wide = max(map(len, method_names())) + 2
    lines = [wrapped(f'All {len(method_names())} methods, each with the streams of training data it needs (retain may '
                     'come from the forget pairs: retain_from: forget_gt), and the arithmetic of a step against one '
                     'of plain training, in the mean of 200. `basicsr-unlearn methods NAME` prints one, with its '
                     'source.'), '']
    for name in method_names():
        method = read_method(name)
        lines.append(wrapped(f'{name:<{wide}}{method["about"]} [{method["needs"]}; {method["cost"]}]', wide))
    return '\n'.join(lines)
