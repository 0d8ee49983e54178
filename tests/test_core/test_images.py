"""PSNR and sizes of batches, by hand."""
import pytest
import torch

from basicsr_unlearn.core.images import batch_psnr, degraded_as_output


def test_psnr_is_the_mean_over_samples_in_db():
    gt = torch.full((2, 3, 4, 4), 0.5)
    output = gt + torch.tensor([0.1, 0.01]).view(2, 1, 1, 1)
    assert float(batch_psnr(output, gt)) == pytest.approx((20 + 40) / 2, abs=1e-3)


def test_psnr_of_equal_images_is_100_and_values_outside_are_clamped():
    gt = torch.ones(1, 3, 4, 4)
    assert float(batch_psnr(gt, gt)) == pytest.approx(100)
    assert float(batch_psnr(gt + 7, gt)) == pytest.approx(100)
    assert float(batch_psnr(gt - 7, gt)) == pytest.approx(0, abs=1e-6)


def test_psnr_of_half_precision_is_computed_in_full():
    gt = torch.full((1, 3, 64, 64), 0.5)
    assert float(batch_psnr((gt + 0.125).bfloat16(), gt)) == pytest.approx(18.0618, abs=1e-3)


def test_psnr_carries_no_gradient_and_shows_nan():
    output = torch.full((1, 3, 4, 4), float('nan'), requires_grad=True)
    psnr = batch_psnr(output, torch.zeros(1, 3, 4, 4))
    assert not psnr.requires_grad and psnr.isnan()


def test_degraded_input_of_one_size_is_itself():
    lq = torch.rand(1, 3, 6, 8)
    assert degraded_as_output(lq, torch.zeros(1, 3, 6, 8)) is lq


def test_degraded_input_is_upsampled_to_the_output():
    """Bicubic upsampling keeps constants; of a ramp, away from the border, torch's kernel (a = -0.75) misses 3/64."""
    ramp = torch.arange(8.0).view(1, 1, 1, 8).expand(1, 3, 6, 8)
    large = degraded_as_output(ramp, torch.zeros(1, 3, 12, 16))
    assert large.shape == (1, 3, 12, 16)
    assert torch.allclose(degraded_as_output(torch.full((1, 3, 6, 8), 0.3), large), torch.tensor(0.3))
    assert torch.allclose(large[0, 0, 5, 6:10], torch.tensor([2.75, 3.25, 3.75, 4.25]) +
                          torch.tensor([-3, 3, -3, 3]) / 64, atol=1e-5)
