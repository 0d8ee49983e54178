"""The command `basicsr-unlearn check`: everything that a run checks before its first step, without the run."""
import sys
from copy import deepcopy
from os import path as osp
from pathlib import Path

import torch

from basicsr_unlearn.engine.entry import Parser, guarded
from basicsr_unlearn.engine.preflight import preflight
from basicsr_unlearn.options.option_file import check_options, is_training
from basicsr_unlearn.options.overrides import read_options


def main(argv: list[str] | None = None) -> int:
    """Check as `argv` says, by default the arguments of the process; 0 if a run can start, 2 if not."""
    return guarded(lambda: _main(argv))


def _main(argv: list[str] | None) -> int:
    parser = Parser(prog='basicsr-unlearn check', description='Check options, images, metrics, network, checkpoints '
                    'and disk as train and test do before their first step, and run nothing.')
    parser.add_argument('-opt', required=True, metavar='FILE.yml', help='an option file of train or test')
    parser.add_argument('--full', action='store_true', help='decode every image to its end; a run decodes the first 16 '
                        'of each data set, and reads head and end of the others')
    parser.add_argument('--force_yml', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override options of the file, as in train')
    args = parser.parse_args(argv)
    opt = read_options(args.opt, args.force_yml)
    is_train = is_training(opt)
    check_options(opt, is_train)
    print(f'options     {args.opt}: {"training" if is_train else "test"} of {opt["model_type"]}', flush=True)
    preflight(as_parsed(opt, is_train), args.full, lambda line: print(line, flush=True))
    images = 'every image was decoded' if args.full else '--full decodes every image, too'
    print(f'All is in order ({images}): basicsr-unlearn {"train" if is_train else "test"} -opt {args.opt} can start.')
    return 0


def as_parsed(opt: dict, is_train: bool) -> dict:
    """Options as BasicSR's parse_options returns them for a new run of one process, but for its random seed."""
    opt = deepcopy(opt)
    opt |= {'is_train': is_train, 'auto_resume': False, 'dist': False, 'rank': 0, 'world_size': 1}
    if opt['num_gpu'] == 'auto':
        opt['num_gpu'] = torch.cuda.device_count()
    for key, block in opt['datasets'].items():
        block['phase'] = key.split('_')[0]
        if 'scale' in opt:
            block['scale'] = opt['scale']
        for root in ('dataroot_gt', 'dataroot_lq'):
            if block.get(root) is not None:
                block[root] = osp.expanduser(block[root])
    for key, value in opt['path'].items():
        if value is not None and ('resume_state' in key or 'pretrain_network' in key):
            opt['path'][key] = osp.expanduser(value)
    root = 'experiments' if is_train else 'results'
    opt['path'][f'{root}_root'] = str(Path.cwd() / root / opt['name'])
    return opt


if __name__ == '__main__':
    sys.exit(main())
