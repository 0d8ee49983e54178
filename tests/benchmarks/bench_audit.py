"""The verdicts of docs/results.md: audits of six networks that an audit has to tell apart, side by side.

    python tests/benchmarks/bench_audit.py

Original, plain gradient ascent, calibrated, deep, retrained, and a network whose last layer was zeroed; the middle ones
are trained first. Run where BSD500, CBSD68 and SOTS-indoor are laid out as docs/data.md shows. Resumable: a
network that is there is not trained again, what is measured is not measured again (results/audit).
"""
import argparse
import os
import subprocess
import sys
from pathlib import Path

import torch

from basicsr_unlearn.zoo.checkpoint import resolve_checkpoint

ROOT = Path(__file__).resolve().parents[2]
ZOO = 'basicsr_unlearn/zoo'
NETWORKS = {  # name -> a checkpoint, or the flags of the run that makes it
    'original': f'{ZOO}/nafnet_allinone.pth',
    'gradient_ascent': ['-opt', f'{ROOT}/options/unlearn_haze_calibrated.yml', '--force_yml', 'train:optim_g:lr=1e-4',
                        'train:forget_opt={type: GradientAscentLoss, bound: none}', 'train:retain_opt=~'],
    'calibrated': ['-opt', f'{ROOT}/options/unlearn_haze_calibrated.yml', '--force_yml'],
    'deep': ['-opt', f'{ROOT}/options/unlearn_haze_deep.yml', '--force_yml'],
    'retrained': f'{ZOO}/nafnet_retrained_without_haze.pth',
    'zeroed': 'results/audit/zeroed.pth',
}


def command(*arguments: str) -> int:
    """Run a command of the package; its exit code."""
    return subprocess.run([sys.executable, '-m', 'basicsr_unlearn', *arguments],
                          env={**os.environ, 'PYTHONPATH': str(ROOT)}).returncode


def checkpoint(name: str, seed: int) -> str:
    """The network's file, made if it is not there."""
    how = NETWORKS[name]
    if isinstance(how, str):
        return how
    path = f'experiments/audit_{name}/models/net_g_latest.pth'
    if not Path(path).is_file() and command('train', *how, f'name=audit_{name}', f'manual_seed={seed}'):
        sys.exit(f'{name} could not be trained.')
    return path


def write_zeroed(path: Path) -> None:
    """The original with its last layer zeroed: NAFNet then returns its input, hazy, rainy or noisy."""
    weights = torch.load(resolve_checkpoint(NETWORKS['original']), weights_only=True)['params']
    for key in ('ending.weight', 'ending.bias'):
        weights[key] = torch.zeros_like(weights[key])
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({'params': weights}, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--quick', action='store_true')
    args = parser.parse_args()
    write_zeroed(Path(NETWORKS['zeroed']))
    flags, suffix = (['--quick'], '_quick') if args.quick else ([], '')
    for name in NETWORKS:
        code = command('audit', '-opt', f'{ROOT}/options/audit_haze.yml', *flags, '--force_yml', f'name={name}',
                       f'networks:unlearned={checkpoint(name, args.seed)}')
        if code not in (0, 1):
            sys.exit(f'{name} could not be audited.')
    command('compare', *(f'results/audit/{name}{suffix}/audit.json' for name in NETWORKS), '--out', 'results/audit')


if __name__ == '__main__':
    main()
