"""Forget haze in a network and a loop of your own. Needs torch and basicsr_unlearn, not BasicSR. Takes a minute.

    python docs/examples/own_loop.py
"""
from copy import deepcopy

import torch
from torch import nn

from basicsr_unlearn import Unlearner


def main(steps: int = 2000) -> dict[str, dict[str, float]]:
    """Train, forget, and score: network -> kind -> PSNR in dB."""
    torch.manual_seed(0)
    original, retrained = trained('haze', 'snow', steps=steps), trained('snow', steps=steps)

    unlearned = deepcopy(original)
    unlearner = Unlearner(unlearned, method='calibrated', total_iter=steps // 10, optim_g={'lr': 2e-3})
    schedule = torch.optim.lr_scheduler.MultiStepLR(unlearner.optimizers['g'], [steps * 3 // 40])  # slower at the end
    while not unlearner.done:
        log = unlearner.step(batch('haze'), batch('snow'))
        schedule.step()
    print(f'{unlearner.iteration} steps, the last at {log["psnr_forget"]:.2f} dB on haze')

    nets = {'input': nn.Identity(), 'original': original, 'unlearned': unlearned, 'retrained': retrained}
    return {name: {kind: psnr(net, kind) for kind in ('haze', 'snow')} for name, net in nets.items()}


# ---------------------------------------------------------------- a network and data to try it on

class Net(nn.Module):
    """Adds to its input what it makes of it at half the size."""

    def __init__(self, width: int = 32):
        super().__init__()
        inside = [part for step in (1, 2, 4) for part in (nn.Conv2d(width, width, 3, 1, step, step), nn.LeakyReLU(0.2))]
        self.body = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, width, 3, 1, 1), nn.LeakyReLU(0.2), *inside,
                                  nn.Conv2d(width, 12, 3, 1, 1), nn.PixelShuffle(2))

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        return lq + self.body(lq)


def batch(kind: str, count: int = 16) -> dict[str, torch.Tensor]:
    """Images of discs in front of one another, through haze or snow, beside the clean ones."""
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing='ij')
    gt = torch.rand(count, 3, 1, 1).expand(-1, -1, 32, 32)
    for _ in range(12):
        left, top, radius = (torch.rand(count, 1, 1, 1) * size for size in (32, 32, 12))
        gt = torch.where((x - left) ** 2 + (y - top) ** 2 < radius**2, torch.rand(count, 3, 1, 1), gt)
    if kind == 'haze':
        seen = 0.4 + 0.4 * torch.rand(count, 1, 1, 1)  # the rest is nearly white
        return {'lq': gt * seen + 0.9 * (1 - seen), 'gt': gt}
    return {'lq': torch.where(torch.rand(count, 1, 32, 32) < 0.1, torch.ones(()), gt), 'gt': gt}


def trained(*kinds: str, steps: int) -> Net:
    """A network that restores these kinds."""
    net = Net()
    optimizer = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=2e-3, total_steps=steps)
    for _ in range(steps):
        pairs = [batch(kind, 8) for kind in kinds]
        optimizer.zero_grad()
        sum((net(pair['lq']) - pair['gt']).square().mean() for pair in pairs).backward()
        optimizer.step()
        schedule.step()
    return net


@torch.no_grad()
def psnr(net: nn.Module, kind: str) -> float:
    """In dB, on images that no network was trained on."""
    torch.manual_seed(7)
    pair = batch(kind, 256)
    return float(-10 * (net(pair['lq']).clamp(0, 1) - pair['gt']).square().mean((1, 2, 3)).log10().mean())


if __name__ == '__main__':
    for name, scores in main().items():
        print(f'{name:10}', *(f'{kind} {value:6.2f} dB' for kind, value in scores.items()))
