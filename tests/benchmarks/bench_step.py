"""What one unlearning step costs: UnlearnModel against a minimal hand-written loop on the same data, in one run.

    python tests/benchmarks/bench_step.py [--steps 10] [--rounds 5]

Both do one forward and backward pass on 8 forget and 8 retain patches of 64x64 with the shipped network. Rounds
alternate, so that a machine that changes its speed changes it for both; the table shows median ratios.
"""
import argparse
import statistics
import tempfile
import time
from copy import deepcopy
from pathlib import Path

import torch

import basicsr_unlearn.plugin  # noqa: F401  before basicsr
from basicsr_unlearn.models.unlearn_model import UnlearnModel

ROOT = Path(__file__).resolve().parents[2]
NETWORK = {'type': 'NAFNet', 'width': 16, 'enc_blk_nums': [1, 1, 2], 'middle_blk_num': 2, 'dec_blk_nums': [1, 1, 1]}
ASCENT = {'type': 'GradientAscentLoss', 'criterion': 'l1', 'bound': 'identity'}
CASES = {
    'forget + retain': {'forget_opt': ASCENT, 'retain_opt': {'type': 'L1Loss', 'target': 'gt'}},
    'retain held to the teacher': {'forget_opt': ASCENT, 'retain_opt': {'type': 'L1Loss', 'target': 'teacher'}},
    '+ stop rule with a budget': {'forget_opt': ASCENT, 'retain_opt': {'type': 'L1Loss', 'target': 'gt'},
                                  'stop_opt': {'retain_budget': 0.1, 'min_iter': 10**6}},
    '+ gradient conflict every step': {'forget_opt': ASCENT, 'retain_opt': {'type': 'L1Loss', 'target': 'gt'},
                                       'conflict_freq': 1},
    'adversarial, 2 PGD steps': {'forget_opt': ASCENT, 'adversarial_opt': {
        'type': 'AdversarialRetainLoss', 'attack': {'type': 'pgd', 'steps': 2}}},
    'adversarial, one step': {'forget_opt': ASCENT, 'adversarial_opt': {
        'type': 'AdversarialRetainLoss', 'attack': {'type': 'one_step'}}},
    'adversarial, carried': {'forget_opt': ASCENT, 'adversarial_opt': {
        'type': 'AdversarialRetainLoss', 'attack': {'type': 'carried'}}},
    'gradients reconciled': {'forget_opt': ASCENT, 'retain_opt': {'type': 'L1Loss', 'target': 'gt'},
                             'conflict_opt': {'project': True}},
}


def build(terms: dict, folder: str) -> UnlearnModel:
    opt = {'is_train': True, 'num_gpu': torch.cuda.device_count(), 'dist': False, 'rank': 0, 'world_size': 1,
           'manual_seed': 0, 'network_g': NETWORK, 'datasets': {},
           'path': {'pretrain_network_g': str(ROOT / 'basicsr_unlearn/zoo/nafnet_allinone.pth'), 'models': folder},
           'train': {'optim_g': {'type': 'Adam', 'lr': 1e-6},
                     'scheduler': {'type': 'MultiStepLR', 'milestones': [10**6]}, 'total_iter': 10**6, **terms}}
    return UnlearnModel(deepcopy(opt))


def seconds(call, steps: int) -> float:
    begin = time.perf_counter()
    for _ in range(steps):
        call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return (time.perf_counter() - begin) / steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, default=10)
    parser.add_argument('--rounds', type=int, default=5)
    args = parser.parse_args()
    torch.manual_seed(0)
    batch = {key: torch.rand(8, 3, 64, 64) for key in ('forget_lq', 'forget_gt', 'retain_lq', 'retain_gt')}
    with tempfile.TemporaryDirectory() as folder:
        minimal = build(CASES['forget + retain'], folder)
        models = {name: build(terms, folder) for name, terms in CASES.items()}
    net, optimizer = minimal.net_g, minimal.optimizer_g
    device = {key: value.to(minimal.device) for key, value in batch.items()}

    def minimal_step() -> None:
        optimizer.zero_grad()
        loss = ((net(device['retain_lq']) - device['retain_gt']).abs().mean()
                - (net(device['forget_lq']) - device['forget_gt']).abs().mean())
        loss.backward()
        optimizer.step()

    def model_step(model: UnlearnModel) -> None:
        model.feed_data(batch)
        model.optimize_parameters(1)

    times: dict[str, list[float]] = {name: [] for name in ('minimal loop', *CASES)}
    for _ in range(args.rounds + 1):  # the first round warms up
        times['minimal loop'].append(seconds(minimal_step, args.steps))
        for name, model in models.items():
            times[name].append(seconds(lambda model=model: model_step(model), args.steps))
    base = times['minimal loop'][1:]
    print(f'minimal loop: {1000 * statistics.median(base):.0f} ms a step, {torch.get_num_threads()} threads')
    for name in CASES:
        ratios = [value / reference for value, reference in zip(times[name][1:], base)]
        print(f'{name:32s} {statistics.median(ratios):5.2f} x   ({min(ratios):.2f} to {max(ratios):.2f})')


if __name__ == '__main__':
    main()
