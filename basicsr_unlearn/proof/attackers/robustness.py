"""How much a network loses under attack: forgetting that made it fragile is damage."""
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from basicsr_unlearn.core.ascent import sample_loss
from basicsr_unlearn.core.attacks import attack_settings, pgd
from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.proof.attackers.image_psnr import Pairs, check_pairs, device_of, psnr_of


def attacked_psnr(net: nn.Module, pairs: Pairs, attack: Mapping[str, Any] | None = None, seed: int = 0) -> list[float]:
    """PSNR of each image in dB, where the degraded input was moved to raise the network's own L1 error the most.

    It is the attack of the adversarial retain loss. The fall from `psnr_of_images` is to be compared with the
    original's: equal seeds start the attack on both networks at the same point.

    Args:
        net: run in eval mode; its weights, gradients and mode are left as they were.
        pairs: images of any sizes, attacked one by one.
        attack: see `attack_settings`; type pgd, one_step or none, network student.
        seed: of the random start.

    Raises:
        ValueError: an option of the attack is not valid, or has no meaning here.
        DataError, TrainingError: see `psnr_of_images`.
    """
    check_pairs(pairs)
    settings = attack_settings(attack)
    if settings['type'] == 'carried':
        raise ValueError('attack type carried belongs to training: use pgd or one_step to measure.')
    if settings['network'] != 'student':
        raise ValueError('attack network: each network is measured under an attack on itself, so leave it out.')
    generator, device, found = torch.Generator().manual_seed(seed), device_of(net), []
    with eval_mode(net):
        for position, (lq, gt) in enumerate(pairs):
            lq, gt = lq[None].to(device), gt[None].to(device)
            if settings['type'] != 'none':
                # the default argument binds this image's ground truth
                lq = pgd(lambda x, gt=gt: sample_loss(net(x), gt), lq, settings['eps'], settings['step_size'],
                         settings['steps'], settings['norm'], settings['random_start'], generator)
            with torch.no_grad():
                found.append(psnr_of(net(lq), gt[0], position))
    return found
