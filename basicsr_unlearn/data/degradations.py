"""Image degradations as pure functions: (image, parameters, random generator) -> image.

Images are float32 RGB, (h, w, 3), in [0, 1]; so are the results. No function keeps state or touches a global generator,
so the same arguments and a generator of the same seed give the same pixels.
"""
import cv2
import numpy as np

from basicsr_unlearn.errors import DataError

Image = np.ndarray
Generator = np.random.Generator


def gaussian_noise(image: Image, sigma: float, rng: Generator) -> Image:
    """Add white Gaussian noise and clip to [0, 1].

    Args:
        sigma: standard deviation in grey levels of 0..255, as in the denoising literature (15, 25, 50).
    """
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(image + noise * np.float32(sigma / 255.0), 0, 1)


def rain_streaks(image: Image, density: float, length: float, angle: float, width: float, opacity: float,
                 rng: Generator) -> Image:
    """Add bright rain streaks: `image + opacity * streaks`, clipped (the additive model of the Rain100 sets).

    Sparse drops are smeared along one direction by a line kernel and lightly blurred across it. The construction is
    the usual one for synthetic rain; its numbers are our choice.

    Args:
        density: share of pixels that start a streak.
        length: length of a streak in pixels.
        angle: direction in degrees from the vertical; for positive angles drops fall to the right.
        width: Gaussian blur across the streak, standard deviation in pixels; 0 for none.
        opacity: brightness of a full streak, 0 to 1.
    """
    height, breadth = image.shape[:2]
    margin = int(np.ceil(length))
    drops = (rng.random((height + 2 * margin, breadth + 2 * margin), dtype=np.float32) < density).astype(np.float32)
    drops *= rng.uniform(0.5, 1.0, drops.shape).astype(np.float32)
    streaks = cv2.filter2D(drops, -1, line_kernel(length, angle))
    if width > 0:
        streaks = cv2.GaussianBlur(streaks, (0, 0), width)
    streaks = np.clip(streaks[margin:margin + height, margin:margin + breadth], 0, 1)
    return np.clip(image + np.float32(opacity) * streaks[..., None], 0, 1)


def line_kernel(length: float, angle: float) -> np.ndarray:
    """Kernel (k, k) of an antialiased line through the centre with largest value 1; angle in degrees from vertical."""
    size = int(np.ceil(length)) // 2 * 2 + 1
    centre = size // 2
    direction = np.deg2rad(angle)
    offset = np.array([np.sin(direction), np.cos(direction)]) * (length - 1) / 2
    kernel = np.zeros((size, size), np.float32)
    start, end = centre - offset, centre + offset
    shift = 4  # cv2 takes fixed-point coordinates with this many fractional bits
    to_fixed = [tuple(int(round(v * (1 << shift))) for v in point) for point in (start, end)]
    cv2.line(kernel, to_fixed[0], to_fixed[1], 1.0, 1, cv2.LINE_AA, shift)
    return kernel / max(kernel.max(), 1e-6)


def haze(image: Image, depth: np.ndarray, beta: float, airlight: float, tint: float = 0) -> Image:
    """Atmospheric scattering model: `I = J t + A (1 - t)` with `t = exp(-beta d)` (Koschmieder; RESIDE, section 3).

    Args:
        depth: (h, w), 0 near to 1 far.
        beta: scattering coefficient times the depth range: transmission at the farthest point is exp(-beta).
        airlight: brightness A of the haze, 0 to 1.
        tint: by what share its red is brighter and its blue darker, -1 to 1; 0 as in RESIDE's indoor set.
    """
    transmission = np.exp(-np.float32(beta) * depth.astype(np.float32))[..., None]
    colour = np.float32(airlight) * np.array([1 + tint, 1, 1 - tint], np.float32)
    return np.clip(image * transmission + colour * (1 - transmission), 0, 1)


def synthetic_depth(height: int, width: int, rng: Generator) -> np.ndarray:
    """A plausible depth map (height, width) in [0.3, 1] for a photograph without one.

    A ground plane that recedes towards the top, plus smooth structure at two scales, as objects in front of it. Our
    choice: photographs mostly stand upright and grow farther towards the top.
    """
    plane = np.linspace(1.0, 0.0, height, dtype=np.float32)[:, None] * np.ones((1, width), np.float32)
    tilt = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :] * rng.uniform(-0.6, 0.6)
    depth = plane * rng.uniform(0.4, 1.0) + tilt
    for cells, weight in ((4, 0.5), (9, 0.25)):
        grid = rng.standard_normal((cells, cells), dtype=np.float32)
        depth = depth + weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    depth -= depth.min()
    return (0.3 + 0.7 * depth / max(float(depth.max()), 1e-6)).astype(np.float32)


def blur(image: Image, kernel: np.ndarray) -> Image:
    """Convolve each channel with a measured kernel (k, k), normalised to sum 1; borders are mirrored."""
    total = float(kernel.sum())
    if total <= 0:
        raise DataError('A blur kernel must have a positive sum.')
    flipped = cv2.flip((kernel / total).astype(np.float32), -1)  # filter2D correlates
    return np.clip(cv2.filter2D(image, -1, flipped, borderType=cv2.BORDER_REFLECT_101), 0, 1)


def gaussian_blur(image: Image, sigma: float) -> Image:
    """Gaussian blur with the given standard deviation in pixels (0: none); borders are mirrored."""
    if sigma <= 0:
        return image.copy()
    return np.clip(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101), 0, 1)


def low_light(image: Image, exposure: float, gamma: float, read_noise: float, rng: Generator) -> Image:
    """Darken: `exposure * image ** gamma` plus read noise, clipped. A common synthesis for LOL-like data.

    Args:
        exposure: factor below 1.
        gamma: exponent above 1 deepens the shadows.
        read_noise: standard deviation in grey levels of 0..255.
    """
    dark = np.float32(exposure) * np.power(image, np.float32(gamma))
    return gaussian_noise(dark, read_noise, rng)


def jpeg(image: Image, quality: int) -> Image:
    """Compress to JPEG at the given quality (1 to 100) and back."""
    pixels = np.clip(np.rint(image[..., ::-1] * 255), 0, 255).astype(np.uint8)
    buffer = cv2.imencode('.jpg', pixels, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return cv2.imdecode(buffer, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255
