import math

import pytest
import torch

from basicsr_unlearn.core.losses import ContrastLoss
from basicsr_unlearn.core.losses.contrast_loss import contrast_loss


def test_values_by_hand():
    """The right one of 5 equals: log 5. Twice as likely as each of two others: log 2. Together in a batch: the mean."""
    assert contrast_loss(torch.zeros(3, 5), torch.zeros(3, dtype=torch.long)).item() == pytest.approx(math.log(5))
    logits = torch.tensor([[math.log(2), 0.0, 0.0]])
    assert contrast_loss(logits, torch.tensor([0])).item() == pytest.approx(math.log(2))
    assert contrast_loss(logits, torch.tensor([1])).item() == pytest.approx(math.log(4))
    both = contrast_loss(logits.repeat(2, 1), torch.tensor([0, 1])).item()
    assert both == pytest.approx((math.log(2) + math.log(4)) / 2)


def test_weight_scales_and_the_gradient_pulls_towards_the_own_key():
    logits, labels = torch.zeros(2, 4, requires_grad=True), torch.zeros(2, dtype=torch.long)
    loss = ContrastLoss(0.1)(logits, labels)
    assert loss.item() == pytest.approx(0.1 * math.log(4))
    loss.backward()
    assert (logits.grad[:, 0] < 0).all() and (logits.grad[:, 1:] > 0).all()


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match='loss_weight'):
        ContrastLoss(-1.0)
