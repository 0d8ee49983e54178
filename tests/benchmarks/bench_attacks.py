"""What the attackers of one network cost, whole and quick, in CPU time and in plain training steps.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_attacks.py [--quick]

The shipped NAFNet, generated images: 34 of 128x128 to score, 32 pairs a side to learn from. The number of plain steps
that the whole takes is what to hold later versions against, since seconds are those of the machine. A retain set, one
relative and every registered part are given, as in an audit.
"""
import argparse
import time
from collections import Counter
from functools import partial

import numpy as np
import torch

from basicsr_unlearn.archs.nafnet_arch import NAFNet
from basicsr_unlearn.proof.attackers.attack_plan import AttackPlan, Material
from basicsr_unlearn.proof.attackers.image_psnr import psnr_of_images
from basicsr_unlearn.proof.attackers.relearning import relearn
from basicsr_unlearn.proof.attackers.sweep import sweep
from basicsr_unlearn.zoo.checkpoint import resolve_checkpoint

ZOO = 'basicsr_unlearn/zoo/nafnet_{}.pth'


def network(name: str) -> NAFNet:
    """A shipped network."""
    net = untrained(None)
    net.load_state_dict(torch.load(resolve_checkpoint(ZOO.format(name)), weights_only=True)['params'])
    return net.eval()


def untrained(seed: int | None) -> NAFNet:
    """One with fresh weights."""
    torch.manual_seed(seed or 0)
    return NAFNet(width=16, enc_blk_nums=[1, 1, 2], middle_blk_num=2, dec_blk_nums=[1, 1, 1], pool_size=240)


def images(count: int, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Pairs of a grey veil over noise and the noise."""
    clean = torch.rand(count, 3, 128, 128, generator=torch.Generator().manual_seed(seed))
    return [(0.5 * gt + 0.4, gt) for gt in clean]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--quick', action='store_true', help='the quick sweep only')
    args = parser.parse_args()
    net, other = network('allinone'), network('retrained_without_haze')
    score = partial(psnr_of_images, pairs=images(34, 0))
    begun = time.process_time()
    relearn(net, images(8, 1), [20], 1e-3, 64, lambda _: None)
    step = (time.process_time() - begun) / 20
    begun = time.process_time()
    score(net)
    print(f'one step {step:.3f} s, one score {time.process_time() - begun:.2f} s')
    for quick in (True, False)[:1 if args.quick else 2]:
        begun, spent, times = time.process_time(), Counter(), []

        def note(attacker: str, spent: Counter = spent, times: list[float] = times, begun: float = begun) -> None:
            times.append(time.process_time())
            spent[attacker] += times[-1] - (times[-2] if times[1:] else begun)

        found = sweep(net, Material(images(32, 1), images(32, 2), untrained, None, {'other': other}),
                      AttackPlan(quick=quick), lambda one: float(np.mean(score(one))), note)
        seconds = time.process_time() - begun
        print(f'{"quick" if quick else "whole"}: {seconds:.0f} s of CPU, {seconds / step:.0f} plain steps, '
              f'{len(found.trails)} trails')
        for attacker, of_it in spent.most_common():
            print(f'  {of_it:7.1f} s  {attacker}')
        for sentence in found.left_out:
            print(f'  {sentence}')


if __name__ == '__main__':
    main()
