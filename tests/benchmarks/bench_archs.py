"""What the architectures cost on one thread: against plain 3x3 convolutions of as many multiplications, in one run.

    python tests/benchmarks/bench_archs.py [--networks AdaIR NAFNet] [--rounds 7]

For each network and batch a stack of 32-channel convolutions with about as many multiply-accumulates is timed in turn
with it, so that a machine that changes its speed changes it for both. Times are the shortest of all rounds, in
milliseconds of process time, which other processes disturb little. A training step is forward, L1 loss, backward and
AdamW.
"""
import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import basicsr_unlearn.plugin  # noqa: F401  before basicsr

BLOCKS = {'dim': 16, 'num_blocks': [1, 1, 1, 1], 'num_refinement_blocks': 1}
NETWORKS = {
    'AdaIR': BLOCKS,
    'PromptIR': {**BLOCKS, 'prompt_dims': [16, 32, 64]},
    'Restormer': BLOCKS,
    'AirNet': {'batch_size': 4, 'n_groups': 2, 'n_blocks': 2, 'n_feats': 24},
    'NAFNet': {'width': 32, 'enc_blk_nums': [1, 1, 1], 'middle_blk_num': 1, 'dec_blk_nums': [1, 1, 1]},
}
BATCHES = [(4, 3, 64, 64), (1, 3, 128, 128)]
CHANNELS = 32


def gmacs(net: nn.Module, images: Tensor) -> float:
    """Multiply-accumulates of one forward pass, in units of 1e9: convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        net(images)
    return counter.get_total_flops() / 2e9


def stack(macs: float, pixels: int) -> nn.Sequential:
    """Convolutions with ReLUs that need about `macs` * 1e9 multiply-accumulates for so many pixels."""
    inner = max(1, round((macs * 1e9 / pixels - 2 * 27 * CHANNELS) / (9 * CHANNELS**2)))
    widths = [3, *[CHANNELS] * (inner + 1), 3]
    layers = [layer for narrow, wide in zip(widths, widths[1:])
              for layer in (nn.Conv2d(narrow, wide, 3, padding=1), nn.ReLU(inplace=True))]
    return nn.Sequential(*layers[:-1])


def forward(net: nn.Module, images: Tensor) -> Callable:
    def call() -> None:
        with torch.no_grad():
            net(images)
    return call


def train(net: nn.Module, images: Tensor) -> Callable:
    optimizer = torch.optim.AdamW([parameter for parameter in net.parameters() if parameter.requires_grad], 1e-6)
    target = torch.rand_like(images)

    def call() -> None:
        optimizer.zero_grad()
        (net(images) - target).abs().mean().backward()
        optimizer.step()
    return call


def shortest(calls: list[Callable], rounds: int) -> list[float]:
    """Milliseconds of process time of each call, all called in turn in every round; the first warms up."""
    times = [[] for _ in calls]
    for _ in range(rounds + 1):
        for call, taken in zip(calls, times):
            begin = time.process_time()
            call()
            taken.append(1000 * (time.process_time() - begin))
    return [min(taken[1:]) for taken in times]


def main() -> None:
    from basicsr.utils.registry import ARCH_REGISTRY
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--networks', nargs='+', choices=NETWORKS, metavar='NAME',
                        default=[name for name in NETWORKS if name in ARCH_REGISTRY])
    parser.add_argument('--rounds', type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print('| network | parameters | batch | GMACs | forward, ms | training step, ms | forward / convolutions | '
          'training step / convolutions |\n|' + ' --- |' * 8)
    for name in args.networks:
        net = ARCH_REGISTRY.get(name)(**NETWORKS[name]).eval()
        parameters = sum(parameter.numel() for parameter in net.parameters())
        for shape in BATCHES:
            images = torch.rand(shape)
            macs = gmacs(net, images)
            plain = stack(macs, images[:, 0].numel())
            ours, ours_train, theirs, theirs_train = shortest(
                [forward(net, images), train(net, images), forward(plain, images), train(plain, images)], args.rounds)
            print(f'| {name} | {parameters:,} | {shape[0]}x{shape[2]} | {macs:.2f} | {ours:.0f} | {ours_train:.0f} | '
                  f'{ours / theirs:.2f} | {ours_train / theirs_train:.2f} |', flush=True)


if __name__ == '__main__':
    main()
