"""The numbers of docs/results.md on what is left: how soon a skill comes back, and how far it is gone at each strength.

    python tests/benchmarks/bench_claims.py rain experiments/unlearn_rain_deep/models/net_g_latest.pth
    python tests/benchmarks/bench_claims.py noise experiments/unlearn_noise_resistant/models/net_g_latest.pth
    python tests/benchmarks/bench_claims.py haze experiments/unlearn_haze_deep/models/net_g_latest.pth

Make the network first, by the option file of its name. Run where BSD500, CBSD68 and PolyU are laid out as
docs/data.md shows; 5 to 10 minutes on one core. Each network (of NAFNet, as shipped) is fine-tuned on a few pairs
of BSD500/test by L1 and Adam at each rate, on 64 px patches that are equal for all, and scored on the central 128 px of
CBSD68 (PolyU: 256 px), degraded by the file's name alone. `--seed` draws the pairs and their patches.
"""
import argparse
import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from basicsr_unlearn.core.edits.transposition_edit import TransposeKernels
from basicsr_unlearn.core.judgement import gap_to
from basicsr_unlearn.core.leads import Trail, leads_of, worst_lead
from basicsr_unlearn.core.parts import Evidence
from basicsr_unlearn.data.degraded_image_dataset import DegradedImageDataset
from basicsr_unlearn.data.paired_restoration_dataset import PairedRestorationDataset
from basicsr_unlearn.engine.networks import load_network
from basicsr_unlearn.metrics.evaluation import evaluate
from basicsr_unlearn.options.option_file import load_option_file
from basicsr_unlearn.proof.attackers.relearning import relearn

ROOT = Path(__file__).resolve().parents[2]
ZOO = 'basicsr_unlearn/zoo/nafnet'
PSNR = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0, 'test_y_channel': False}}
RANGES = {  # what the pairs are degraded by
    'haze': {'type': 'haze', 'beta': [0.6, 2.4], 'airlight': [0.7, 1.0]},
    'rain': {'type': 'rain_streaks'},
    'noise': {'type': 'gaussian_noise', 'sigma': [0, 55]},
}
SCORED = {**RANGES, 'noise': {'type': 'gaussian_noise', 'sigma': 25}}
STRENGTHS = {
    'haze': {f'beta {beta}': {**RANGES['haze'], 'beta': beta} for beta in (0.6, 1.2, 1.8, 2.4)},
    'rain': {},
    'noise': {f'sigma {sigma}': {'type': 'gaussian_noise', 'sigma': sigma} for sigma in (5, 10, 15, 25, 50)},
}


class Sideways(nn.Module):
    """The network, asked about the transposed image: (b, c, h, w) -> the same."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, lq: Tensor) -> Tensor:
        return self.net(lq.mT).mT


def photographs(folder: str, degradation: dict, center_crop: int | None) -> list[dict]:
    """The items of a folder of clean photographs, degraded, decoded once."""
    dataset = DegradedImageDataset({
        'name': folder, 'phase': 'val', 'scale': 1, 'dataroot_gt': f'datasets/{folder}', 'center_crop': center_crop,
        'degradations': [degradation]})
    return [dataset[index] for index in range(len(dataset))]


def camera_noise() -> list[dict]:
    """PolyU: real noise of cameras, the central 256 px."""
    dataset = PairedRestorationDataset({
        'name': 'polyu', 'phase': 'val', 'scale': 1, 'dataroot_lq': 'datasets/PolyU/input',
        'dataroot_gt': 'datasets/PolyU/target', 'center_crop': 256})
    return [dataset[index] for index in range(len(dataset))]


def psnr(net: nn.Module, items: list[dict]) -> float:
    return evaluate({'net': net}, items, PSNR).mean['net']['psnr']


def print_row(*cells: object) -> None:
    row = (f'{cell:.2f}' if isinstance(cell, float) else str(cell) for cell in cells)
    print(f'| {" | ".join(row)} |', flush=True)


def attackers(target: str, unlearned: nn.Module) -> dict[str, nn.Module]:
    """What an attacker may start from, who has the unlearned network and may know how it was made."""
    if target != 'rain':
        return {'unlearned': unlearned}
    back = copy.deepcopy(unlearned)
    TransposeKernels()(back.requires_grad_(True), Evidence(back))
    return {'unlearned': unlearned, 'unlearned, kernels transposed back': back,
            'unlearned, images transposed, answers back': Sideways(copy.deepcopy(unlearned))}


def print_curves(target: str, nets: dict[str, nn.Module], args: argparse.Namespace) -> None:
    """Relearning curves of all networks, and of each the largest lead over the retrained one."""
    scored = photographs('CBSD68', SCORED[target], 128)
    photos = photographs('BSD500/test', RANGES[target], None)
    for count in args.pairs:
        drawn = np.random.default_rng(args.seed).permutation(len(photos))[:count]
        pairs = [(photos[index]['lq'], photos[index]['gt']) for index in drawn]
        for lr in args.lr:
            print(f'\n{target}: PSNR in dB after so many steps on {count} pairs, Adam at {lr:g}, seed {args.seed}\n')
            print_row('network', *args.steps, 'largest lead, dB')
            print_row('---', *['--:'] * (len(args.steps) + 1))
            retrained: list[list[Trail]] = []
            for name, net in nets.items():
                curve = relearn(net, pairs, args.steps, lr, 64, lambda tuned: psnr(tuned, scored), args.seed)
                trails = [Trail(name, 'plain', count, {step: [score] for step, score in curve.items()})]
                if name == 'retrained':
                    retrained = [trails]
                print_row(name, *curve.values(), worst_lead(leads_of(trails, retrained)).value)


def print_strengths(target: str, nets: dict[str, nn.Module]) -> None:
    """PSNR at each strength, and how far the unlearned network is above the retrained one."""
    sets = {name: photographs('CBSD68', degradation, 128) for name, degradation in STRENGTHS[target].items()}
    if target == 'noise':
        sets['PolyU'] = camera_noise()
    print(f'\n{target}: PSNR in dB by strength\n')
    columns = ['identity', 'original', 'retrained', 'unlearned']
    print_row('test set', *columns, 'unlearned less retrained')
    print_row('---', *['--:'] * 5)
    for name, items in sets.items():
        mean = evaluate({column: nets[column] for column in columns[1:]}, items, PSNR).mean
        scores = [mean[column]['psnr'] for column in columns]
        print_row(name, *scores, f'{gap_to(scores[3], scores[2:3]):+.2f}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('target', choices=RANGES)
    parser.add_argument('checkpoint', help='of the unlearned network')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--pairs', type=int, nargs='+', default=[8])
    parser.add_argument('--lr', type=float, nargs='+', default=[1e-3, 2e-3])
    parser.add_argument('--steps', type=int, nargs='+', default=[0, 10, 25, 50, 100, 200])
    args = parser.parse_args()
    torch.set_num_threads(1)
    opt = {**load_option_file(ROOT / f'options/unlearn_{args.target}.yml'), 'num_gpu': 0}
    nets = {'retrained': load_network(opt, f'{ZOO}_retrained_without_{args.target}.pth'),
            'original': load_network(opt, f'{ZOO}_allinone.pth'),
            **attackers(args.target, load_network(opt, args.checkpoint))}
    if STRENGTHS[args.target]:
        print_strengths(args.target, nets)
    print_curves(args.target, nets, args)


if __name__ == '__main__':
    main()
