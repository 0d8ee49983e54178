"""The command `basicsr-unlearn new`: an option file for a network and data of one's own."""
import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from basicsr_unlearn.cli.data_plan import Found, find_data, find_kept, shortest_side
from basicsr_unlearn.cli.network_plan import find_network, settle
from basicsr_unlearn.cli.run_flags import forget_source, imported_plugin, keep_sources, parser_of
from basicsr_unlearn.data.pairing_detection import image_size
from basicsr_unlearn.engine.entry import guarded
from basicsr_unlearn.engine.terminal import wrapped
from basicsr_unlearn.engine.trial import MARGINS, Trial
from basicsr_unlearn.errors import DataError, OptionError
from basicsr_unlearn.files import write_text
from basicsr_unlearn.methods.presets import read_method
from basicsr_unlearn.options.new_file import DataSource, Plan, option_file
from basicsr_unlearn.options.option_file import check_options, load_option_file

NOTE_LABEL = 12  # columns
DEFAULT_STEPS, RESET_STEPS, DEFAULT_SIDE = 200, 4000, 64  # as in the shipped files of `calibrated` and `deep`
CACHED = 2**30  # bytes of images that are kept in memory; our choice
LARGEST_CROP = 256  # pixels of the degraded image, where a network does not take every size


def main(argv: list[str] | None = None) -> int:
    """Write the option file that the arguments `argv` ask for; 0, or 2 for bad input."""
    return guarded(lambda: _main(argv))


def _main(argv: list[str] | None) -> int:
    parser = parser_of('new', 'Write the option file with which a network of your own forgets, and stop there. What is '
                       'found out about checkpoint and data is printed; what cannot be found out is asked.')
    file = write_option_file(parser.parse_args(argv))
    note('Next', f'basicsr-unlearn train -opt {file}')
    return 0


def note(label: str, words: str) -> None:
    """A line for each thing that was found, wrapped."""
    print(wrapped(f'{label:<{NOTE_LABEL}}{words}', NOTE_LABEL), flush=True)


def write_option_file(args: argparse.Namespace, runs: bool = False) -> str:
    """Find out what the flags leave open, write the option file, check it; its path.

    Args:
        args: see `parser_of`.
        runs: whether it is to be run at once; then there has to be something to forget.

    Raises:
        OptionError, DataError, CheckpointError: see `find_network`, `find_data` and `find_kept`; or the file exists
            with another content.
    """
    method = read_method(args.method)['train']
    if args.opt and Path(args.opt).expanduser().is_dir():
        raise OptionError(f'--opt {args.opt} is a folder: name the file to write.')
    plan, number = plan_of(args, method, runs), 1
    file, content = _named(plan, args.opt)
    while not (args.force or _is_free(file, content)):
        if args.opt:
            raise OptionError(f'{file} exists and says something else: name another with --opt, or add --force.')
        number += 1
        file, content = _named(replace(plan, name=f'{plan.name}_{number}'), None)
    write_text(Path(file).expanduser(), content)
    check_options(load_option_file(file), True)
    note('Options', f'{file}: all of the above, to be read, changed and run again')
    return file


def _named(plan: Plan, opt: str | None) -> tuple[str, str]:
    """Path and content of the option file."""
    file = opt or f'{plan.name}.yml'
    return file, option_file(plan, _title(plan, file), Path(file).expanduser().absolute().parent)


def _is_free(file: str, content: str) -> bool:
    path = Path(file).expanduser()
    return not path.exists() or path.read_text(encoding='utf-8') == content


def plan_of(args: argparse.Namespace, method: dict, runs: bool) -> Plan:
    """The plan of a run, with a line printed for each part of it."""
    source, keep = forget_source(args.forget), None if args.keep is None else keep_sources(args.keep)
    plugin = imported_plugin(args.plugin)
    trial, open_settings = find_network(args, note)
    forget, words = find_data(source, trial.scale, args.pair_list, [])
    note('Forget', words)
    trial.crop = _crop(forget, trial)
    settle(trial, open_settings, forget.source.val, note)
    score = trial.score(forget.source.val)
    shown = trial.yardstick.shown
    note('Skill', f'{trial.yardstick.name} {shown(score.original)}, the untouched input has {shown(score.identity)} '
         '(centres of four images)' + ('' if score.skill else ': too little to forget anything'))
    if runs and not score.skill:
        raise OptionError(f'There is nothing to forget: the network does not restore {forget.source.name}. Correct '
                          '--forget, --checkpoint, --network or --param_key; what a network trained for perception '
                          'does may show by --metric ssim.')
    kept, own_data, as_before = find_kept(keep, forget, trial, note)
    crops = {found.source.name: _crop(found, trial) for found in own_data}
    patch = _patch(args.patch, shortest_side([forget, *own_data], trial.scale), trial.multiple)
    steps = args.steps or (RESET_STEPS if 'Reset' in str(method.get('edit_opt')) else DEFAULT_STEPS)
    judged = {} if args.metric == 'psnr' else {'skill_opt': {'metric': args.metric, 'margin': MARGINS[args.metric]}}
    follows = (method.get('retain_opt') or {}).get('target') == 'teacher'
    images = [image for found in (forget, *own_data) for image in found.images]
    height, width = image_size(images[0])
    note('Method', f'{args.method}, {steps} steps of {args.batch} patches of {patch} pixels')
    if trial.crop:
        note('Validation', f'on the central {trial.crop} pixels, a size that the network takes')
    return Plan(
        name=re.sub(r'\W+', '_', f'unlearn_{forget.source.name}_{Path(args.checkpoint).stem}').strip('_'),
        checkpoint=args.checkpoint, param_key=args.param_key, network=trial.network, scale=trial.scale,
        forget=_cropped(forget.source, trial.crop),
        keep=[_cropped(source, crops.get(source.name, trial.crop)) for source in kept],
        method=args.method, steps=steps, batch=args.batch, patch=patch * trial.scale, plugin=plugin,
        cache=len(images) * height * width * 3 < CACHED,
        own=judged | ({'retain_opt': {'target': 'gt'}} if follows and not as_before else {}))


def _crop(found: Found, trial: Trial) -> int | None:
    """Side of the clean images' central part that the network takes; None where it takes any size."""
    if trial.multiple == 1:
        return None
    return _fitted(min(shortest_side([found], trial.scale), LARGEST_CROP), trial.multiple) * trial.scale


def _fitted(side: int, multiple: int) -> int:
    if side < multiple:
        raise DataError(f'The smallest image has {side} pixels a side, and the network needs {multiple}: take small '
                        'images out.')
    return side // multiple * multiple


def _patch(asked: int | None, shortest: int, multiple: int) -> int:
    if asked is None:
        return _fitted(min(shortest, DEFAULT_SIDE), multiple)
    if asked % multiple or asked > shortest:
        raise OptionError(f'--patch {asked}: ' + (f'the network takes multiples of {multiple} only.' if asked % multiple
                          else f'the smallest degraded image has {shortest} pixels a side.'))
    return asked


def _cropped(source: DataSource, crop: int | None) -> DataSource:
    return replace(source, val={**source.val, 'center_crop': crop}) if crop else source


def _title(plan: Plan, file: str) -> Sequence[str]:
    kept = ', '.join(source.name for source in plan.keep)
    return (f'Unlearn {plan.forget.name} in {plan.network["type"]} of {plan.checkpoint}, and keep {kept}.',
            f'  basicsr-unlearn train -opt {file}',
            'Written by `basicsr-unlearn new`; after a change `basicsr-unlearn check -opt FILE` tells what is wrong.')


if __name__ == '__main__':
    sys.exit(main())
