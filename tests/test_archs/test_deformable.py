"""The deformable convolution: cases by hand, and torchvision's operator."""
import pytest
import torch
from torch.nn import functional as F

from basicsr_unlearn.archs import deformable
from basicsr_unlearn.archs.deformable import gathered_deform_conv, modulated_deform_conv, torchvision_deform_conv

H, W = 5, 7


def centre(value: float = 1.0) -> torch.Tensor:
    """A kernel (1, 1, 3, 3) that passes the sample of the middle position on, times `value`."""
    weight = torch.zeros(1, 1, 3, 3)
    weight[..., 1, 1] = value
    return weight


def shift(dy: float, dx: float) -> torch.Tensor:
    """Offsets (1, 18, H, W) that are the same everywhere."""
    return torch.tensor([dy, dx]).repeat(9).view(1, 18, 1, 1).expand(1, 18, H, W)


def image() -> torch.Tensor:
    return torch.arange(1.0, H * W + 1).view(1, 1, H, W)


ONES = torch.ones(1, 9, H, W)


@pytest.mark.parametrize('dy, dx', [(0, 0), (1, 0), (0, 1), (-2, 1), (3, -4)])
def test_whole_offsets_shift_the_image_and_outside_is_zero(dy, dx):
    wide = F.pad(image(), (W, W, H, H))  # zeros all around
    expected = wide[:, :, H + dy:2 * H + dy, W + dx:2 * W + dx]
    assert torch.equal(modulated_deform_conv(image(), shift(dy, dx), ONES, centre()), expected)


def test_a_sample_between_pixels_is_bilinear_and_fades_at_the_border():
    out = modulated_deform_conv(image(), shift(0.25, 0.5), ONES, centre())[0, 0]
    # 1 2 over 8 9 (rows of 7): 0.75 * 1.5 + 0.25 * 8.5
    assert float(out[0, 0]) == pytest.approx(3.25)
    assert float(out[0, -1]) == pytest.approx(0.5 * (0.75 * 7 + 0.25 * 14))
    assert float(out[-1, -1]) == pytest.approx(0.5 * 0.75 * 35)


def test_each_position_has_its_own_offset_and_factor():
    """Position 2, upper right, moved down and left by one is the pixel in the middle; the others count nothing."""
    offset, mask, weight = torch.zeros(1, 18, H, W), torch.zeros(1, 9, H, W), torch.zeros(1, 1, 3, 3)
    offset[:, 4], offset[:, 5], mask[:, 2], weight[..., 0, 2] = 1, -1, 0.5, 3
    torch.testing.assert_close(modulated_deform_conv(image(), offset, mask, weight), 1.5 * image())


def test_without_offsets_it_is_the_convolution():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 4, H, W), torch.randn(6, 4, 3, 3)
    out = modulated_deform_conv(x, torch.zeros(2, 18, H, W), ONES.expand(2, -1, -1, -1) / 2, weight)
    torch.testing.assert_close(out, F.conv2d(x, weight, padding=1) / 2)


def drawn(dtype=torch.float32, spread=3.0) -> list[torch.Tensor]:
    """x, offset, mask, weight; many samples lie partly or wholly outside, and those of the first row move nowhere."""
    torch.manual_seed(1)
    offset = spread * torch.randn(2, 18, 13, 9, dtype=dtype)
    offset[:, :, 0] = 0
    return [tensor.requires_grad_() for tensor in (
        torch.randn(2, 4, 13, 9, dtype=dtype), offset, torch.rand(2, 9, 13, 9, dtype=dtype),
        torch.randn(5, 4, 3, 3, dtype=dtype))]


def value_and_gradients(conv, inputs) -> tuple[torch.Tensor, ...]:
    out = conv(*inputs)
    goal = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    return out.detach(), *torch.autograd.grad((out * goal).sum(), inputs)


@pytest.mark.skipif(deformable.deform_conv2d is None, reason="torchvision's operators cannot be imported")
def test_torchvision_gives_the_same_values_and_gradients():
    for ours, theirs in zip(value_and_gradients(gathered_deform_conv, drawn()),
                            value_and_gradients(torchvision_deform_conv, drawn())):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=2e-5)
        assert float((ours - theirs).norm() / theirs.norm()) < 2e-6


def test_gradients_are_those_of_finite_differences():
    inputs = [tensor.detach()[:1, ..., :4, :4].contiguous() if tensor.shape[2] == 13 else tensor.detach()
              for tensor in drawn(torch.float64, 1.0)]
    inputs[1] = inputs[1].round() + 0.3 + 0.1 * torch.rand_like(inputs[1])  # away from whole pixels, where it has kinks
    assert torch.autograd.gradcheck(gathered_deform_conv, [tensor.requires_grad_() for tensor in inputs])


def test_bands_change_nothing(monkeypatch):
    whole = value_and_gradients(gathered_deform_conv, drawn())
    monkeypatch.setattr(deformable, 'PIXELS', 2 * 9 * 4)  # four rows at a time
    for banded, expected in zip(value_and_gradients(gathered_deform_conv, drawn()), whole):
        torch.testing.assert_close(banded, expected, rtol=1e-5, atol=1e-5)


def test_positions_stay_in_single_precision():
    inputs = [tensor.detach().bfloat16() for tensor in drawn()]
    with torch.autocast('cpu', torch.bfloat16):
        mixed = modulated_deform_conv(*inputs)
    assert torch.equal(mixed, modulated_deform_conv(*(tensor.float() for tensor in inputs)))


def test_offsets_that_are_not_finite_lead_outside():
    for value in (float('nan'), float('inf'), 1e30):
        out = gathered_deform_conv(image(), shift(value, value), ONES, centre())
        assert torch.equal(out, torch.zeros_like(out))
