"""Degradations against their formulas."""
import cv2
import numpy as np
import pytest

from basicsr_unlearn.data import degradations as D
from basicsr_unlearn.data.degradation_chain import PARAMETERS, DegradationChain, draw
from basicsr_unlearn.errors import DataError, OptionError


@pytest.fixture
def image():
    return np.random.default_rng(1).random((40, 36, 3), dtype=np.float32)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_haze_by_hand():
    image = np.full((1, 2, 3), 0.2, np.float32)
    hazy = D.haze(image, np.array([[0.5, 1.0]], np.float32), beta=2.0, airlight=0.9)
    for column, depth in enumerate((0.5, 1.0)):
        t = np.exp(-2 * depth)
        np.testing.assert_allclose(hazy[0, column], 0.2 * t + 0.9 * (1 - t), atol=1e-6)


def test_tinted_haze_is_red_where_the_photograph_is_far():
    image = np.full((1, 1, 3), 0.2, np.float32)
    hazy = D.haze(image, np.full((1, 1), 50, np.float32), beta=2.0, airlight=0.8, tint=0.2)
    np.testing.assert_allclose(hazy[0, 0], [0.96, 0.8, 0.64], atol=1e-6)


def test_haze_ends(image):
    depth = np.ones(image.shape[:2], np.float32)
    np.testing.assert_array_equal(D.haze(image, depth, 0.0, 0.8), image)
    np.testing.assert_allclose(D.haze(image, depth, 60.0, 0.8), np.full_like(image, 0.8), atol=1e-6)


def test_synthetic_depth_has_its_range_and_recedes_upwards():
    depths = [D.synthetic_depth(60, 80, rng(seed)) for seed in range(20)]
    for depth in depths:
        assert depth.shape == (60, 80) and depth.dtype == np.float32
        assert depth.min() == pytest.approx(0.3, abs=1e-6) and depth.max() == pytest.approx(1, abs=1e-6)
    assert np.mean([d[:20].mean() for d in depths]) > np.mean([d[-20:].mean() for d in depths]) + 0.1


def test_noise_has_its_standard_deviation():
    grey = np.full((200, 200, 3), 0.5, np.float32)
    noise = (D.gaussian_noise(grey, 25, rng()) - grey) * 255
    # 120,000 samples: the standard error of the deviation is 25 / sqrt(240,000) = 0.05
    assert noise.std() == pytest.approx(25, abs=0.25) and noise.mean() == pytest.approx(0, abs=0.4)


def test_rain_only_brightens_and_by_no_more_than_its_opacity(image):
    change = D.rain_streaks(image, 0.02, 12, 10, 0.6, 0.5, rng()) - image
    assert change.min() >= -1e-6 and 0.05 < change.max() <= 0.5 + 1e-6
    np.testing.assert_array_equal(D.rain_streaks(image, 0.0, 12, 10, 0.6, 0.5, rng()), image)


@pytest.mark.parametrize('angle, column', [(0, 0), (45, 1), (-45, -1)])
def test_line_kernel_has_its_length_and_direction(angle, column):
    kernel = D.line_kernel(21, angle)
    assert kernel.shape == (21, 21) and kernel.max() == 1
    rows, columns = np.nonzero(kernel > 0.5)
    assert np.hypot(np.ptp(rows), np.ptp(columns)) == pytest.approx(20, abs=1.5)
    assert np.corrcoef(rows, columns)[0, 1] * column > 0.9 if column else np.ptp(columns) == 0


def test_blur_with_a_delta_is_the_identity(image):
    kernel = np.zeros((5, 5))
    kernel[2, 2] = 3.0  # normalised to sum 1
    np.testing.assert_allclose(D.blur(image, kernel), image, atol=1e-6)


@pytest.mark.parametrize('size', [5, 17])  # cv2 takes another path above 11
def test_blur_convolves(image, size):
    kernel = np.zeros((size, size))
    kernel[size // 2 + 1, size // 2 + 2] = 1  # a convolution moves the picture down by 1 and right by 2
    np.testing.assert_allclose(D.blur(image, kernel)[1:, 2:], image[:-1, :-2], atol=1e-5)


def test_blur_refuses_a_kernel_without_weight(image):
    with pytest.raises(DataError, match='positive sum'):
        D.blur(image, np.zeros((3, 3)))


def test_gaussian_blur_keeps_the_mean_and_sigma_0_changes_nothing(image):
    flat = np.full((20, 20, 3), 0.4, np.float32)
    np.testing.assert_allclose(D.gaussian_blur(flat, 2.0), flat, atol=1e-6)
    assert D.gaussian_blur(image, 2.0).std() < 0.3 * image.std()
    np.testing.assert_array_equal(D.gaussian_blur(image, 0), image)


def test_low_light_by_hand(image):
    np.testing.assert_allclose(D.low_light(image, 0.3, 2.0, 0, rng()), 0.3 * image**2, atol=1e-6)


def test_jpeg_loses_more_at_lower_quality():
    photo = cv2.GaussianBlur(np.random.default_rng(2).random((64, 64, 3), dtype=np.float32), (0, 0), 1.5)
    errors = [np.square(D.jpeg(photo, quality) - photo).mean() for quality in (10, 50, 95)]
    assert errors[0] > errors[1] > errors[2] > 0
    red = np.zeros((16, 16, 3), np.float32)
    red[..., 0] = 1
    assert D.jpeg(red, 95)[8, 8, 0] > 0.9 and D.jpeg(red, 95)[8, 8, 2] < 0.1  # channels in order


def steps(tmp_path):
    np.save(tmp_path / 'kernel.npy', np.ones((3, 3)))
    return {kind: {'type': kind, **({'kernels': str(tmp_path)} if kind == 'blur' else {})} for kind in PARAMETERS}


@pytest.mark.parametrize('kind', PARAMETERS)
def test_every_degradation_is_pure(image, tmp_path, kind):
    chain = DegradationChain([steps(tmp_path)[kind]])
    before, state = image.copy(), np.random.get_state()[1].copy()
    window = slice(2, 42), slice(3, 39)

    def run(seed, pixels=image):
        return chain(pixels, rng(seed), 'name', (50, 45), window)

    first, again, other = run(5), run(5), run(6)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    assert first.shape == image.shape and first.dtype == np.float32 and not np.shares_memory(first, image)
    assert 0 <= first.min() and first.max() <= 1
    assert (first != image).any()
    if kind != 'blur':  # the one kernel is drawn each time
        assert (first != other).any()
    # a turned and mirrored view, as augmentation makes it, gives the same pixels as its copy
    turned = image.swapaxes(0, 1)[::-1, ::-1].swapaxes(0, 1)
    np.testing.assert_array_equal(run(5, turned), run(5, np.ascontiguousarray(turned)))


def test_draw():
    assert draw(25, rng()) == 25
    values = [draw([2, 4], rng(seed)) for seed in range(200)]
    assert 2 <= min(values) < 2.2 and 3.8 < max(values) <= 4
    assert {draw({'choices': [15, 50]}, rng(seed)) for seed in range(30)} == {15, 50}


@pytest.mark.parametrize('bad, message', [
    ([], 'must be a list of steps'),
    ([{'type': 'snow'}], "'snow' is no degradation: use one of gaussian_noise"),
    ([{'type': 'haze', 'sigma': 3}], "haze has no parameter 'sigma'"),
    ([{'type': 'gaussian_noise', 'sigma': '25'}], "sigma of the degradation gaussian_noise is '25'"),
    ([{'type': 'gaussian_noise', 'sigma': [50, 0]}], 'write a number'),
    ([{'type': 'gaussian_noise', 'sigma': {'choices': []}}], 'write a number'),
    ([{'type': 'blur'}], 'blur needs kernels'),
    ([{'type': 'blur', 'kernels': 5}], 'kernels .* must be a folder'),
    ([5], 'no block but 5'), ([{'type': ['haze']}], 'no degradation'),
    ([{'type': 'rain_streaks', 'length': [1, 10**9]}], 'length of .* from 1 to 500'),
    ([{'type': 'jpeg', 'quality': {'choices': [0]}}], 'quality of .* from 1 to 100'),
    ([{'type': 'haze', 'beta': float('nan')}], 'beta of .* from 0 to 100'),
])
def test_bad_steps_are_refused(bad, message):
    with pytest.raises(OptionError, match=message):
        DegradationChain(bad)


def test_missing_and_unusable_files_are_named(tmp_path, image):
    with pytest.raises(DataError, match='kernel folder .*none does not exist'):
        DegradationChain([{'type': 'blur', 'kernels': str(tmp_path / 'none')}])
    with pytest.raises(DataError, match='depth folder .*none does not exist'):
        DegradationChain([{'type': 'haze', 'depth': str(tmp_path / 'none')}])
    np.save(tmp_path / 'zero.npy', np.zeros((3, 3)))
    with pytest.raises(DataError, match='zero.npy must be one plane'):
        DegradationChain([{'type': 'blur', 'kernels': str(tmp_path)}])
    (tmp_path / 'zero.npy').write_bytes(b'')
    with pytest.raises(DataError, match='zero.npy cannot be read'):
        DegradationChain([{'type': 'blur', 'kernels': str(tmp_path)}])
    np.save(tmp_path / 'zero.npy', np.array(['x']))
    with pytest.raises(DataError, match='zero.npy holds no array of numbers'):
        DegradationChain([{'type': 'blur', 'kernels': str(tmp_path)}])
    np.save(tmp_path / 'holes.npy', np.full((40, 36), np.inf))
    np.save(tmp_path / 'small.npy', np.ones((4, 4)))
    chain = DegradationChain([{'type': 'haze', 'depth': str(tmp_path)}])
    for name, message in (('holes', 'holes.npy must be one plane of finite'), ('small', '4x4, the photograph 36x40'),
                          ('other', 'no map named other')):
        with pytest.raises(DataError, match=message):
            chain(image, rng(), name, (40, 36), (slice(None), slice(None)))


def test_haze_follows_the_given_depth_in_the_window(tmp_path):
    depth = np.zeros((10, 12), np.float32)
    depth[4, 5] = 8.0  # metres: scaled by the largest
    np.save(tmp_path / 'scene.npy', depth)
    chain = DegradationChain([{'type': 'haze', 'depth': str(tmp_path), 'beta': 1.5, 'airlight': 1.0}])
    hazy = chain(np.zeros((4, 4, 3), np.float32), rng(), 'scene', (10, 12), (slice(3, 7), slice(3, 7)))
    expected = np.zeros((4, 4))
    expected[1, 2] = 1 - np.exp(-1.5)
    np.testing.assert_allclose(hazy[..., 0], expected, atol=1e-6)
