"""A network tried on a few images: what it takes, and what it restores."""
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import torch
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor, nn

from basicsr_unlearn.core.judgement import has_skill
from basicsr_unlearn.core.yardstick import SKILL_MARGIN, Yardstick, yardstick_of
from basicsr_unlearn.engine.network_check import build_network
from basicsr_unlearn.errors import DataError, OptionError, from_torch
from basicsr_unlearn.metrics.evaluation import evaluate, evenly
from basicsr_unlearn.zoo.checkpoint import check_fit

TRIAL_IMAGES, TRIAL_SIDE = 4, 128  # of a trial: our choice, for seconds
PROBE = 64  # pixels of the first pass, which most networks take
SIDES = (PROBE, 7 * 8, 2 * PROBE)  # tried one after another
MULTIPLES = (1, 4, 8, 16, 32, 64, 7)  # of the image's sides, in which networks ask for them; 7 is a window of SwinIR
METRICS = {name: {'type': f'calculate_{name}', 'crop_border': 0, 'test_y_channel': False} for name in ('psnr', 'ssim')}
MARGINS = {'psnr': SKILL_MARGIN, 'ssim': 0.02}  # from which a network restores; of SSIM our choice


@dataclass(frozen=True)
class Score:
    """Mean scores on the images of a trial, of the network and of the untouched input."""
    original: float
    identity: float
    yardstick: Yardstick

    @property
    def gain(self) -> str:
        digits = '+.1f' if self.yardstick.unit else '+.3f'
        return f'{self.yardstick.gain(self.original, self.identity):{digits}}{self.yardstick.unit and " dB"}'

    @property
    def skill(self) -> bool:
        return has_skill(self.original, self.identity, self.yardstick)


class Trial:
    """A network with its weights, on the GPU if there is one, and the metric of METRICS that it is judged by.

    Raises:
        OptionError, CheckpointError: it cannot be built, the weights do not fit, or it is none from one RGB image to
            another.
    """

    def __init__(self, network: Mapping[str, Any], weights: Mapping[str, Tensor], path: str, metric: str = 'psnr'):
        self.network, self.weights, self.path, self.metric = dict(network), weights, path, metric
        self.yardstick = yardstick_of(metric, METRICS[metric], MARGINS[metric])
        self.net = self._loaded(self.network)
        self.scale = self._find_scale()
        self.crop: int | None = None  # side of clean images that the network takes whole; None for any

    def _loaded(self, network: Mapping[str, Any]) -> nn.Module:
        net = build_network({'network_g': network})
        check_fit(net, self.weights, self.path)
        net.load_state_dict(dict(self.weights), strict=False)  # but for counters of BatchNorm nothing is missing
        return net.to('cuda' if torch.cuda.is_available() else 'cpu').eval()

    @torch.no_grad()
    def _pass(self, height: int, width: int) -> Tensor | str:
        """The output for a grey image, or what the network says against it."""
        grey = torch.full((1, 3, height, width), 0.5, device=next(self.net.parameters()).device)
        try:
            return self.net(grey)
        except Exception as error:  # networks ask for sizes in many ways
            if isinstance(error, (RuntimeError, MemoryError)) and (told := from_torch(error)):
                raise DataError(told) from error
            return ' '.join(str(error).split()).rstrip('.')[:120] or type(error).__name__

    def _find_scale(self) -> int:
        kind, output, side = self.network['type'], '', PROBE
        for side in SIDES:
            output = self._pass(side, side)
            if not isinstance(output, str):
                break
        if isinstance(output, Tensor) and output.dim() == 4 and output.shape[1] == 3:
            return max(1, output.shape[-1] // side)
        found = f'it says {output}' if isinstance(output, str) else \
            f'it returns {tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__}'
        raise OptionError(f'{kind} of {self.path} does not make one RGB image of another: {found}. Give it a wrapper '
                          'whose forward takes and returns (b, 3, h, w), and bring that with --plugin.')

    @cached_property
    def multiple(self) -> int:
        """Of what the sides of an image have to be multiples, 1 for any size."""
        for multiple in MULTIPLES:
            side = PROBE // multiple * multiple + (multiple if multiple < 8 else 0)
            if not isinstance(self._pass(side, side + multiple), str):
                return multiple
        return PROBE

    def score(self, block: Mapping[str, Any], whole: bool = False) -> Score:
        """Try it on a few images of a data set.

        Args:
            block: of a validation set, as in an option file.
            whole: on two images, as whole as the network takes them, and not on the central 128 pixels of four.
        """
        side = TRIAL_SIDE // self.multiple * self.multiple * self.scale
        options = {**block, 'name': 'trial', 'phase': 'val', 'scale': self.scale,
                   'center_crop': self.crop if whole else min(side, self.crop or side)}
        dataset = DATASET_REGISTRY.get(block['type'])(options)
        few = [dataset[index] for index in evenly(len(dataset), 2 if whole else TRIAL_IMAGES)]
        mean = evaluate({'original': self.net}, few, {self.metric: METRICS[self.metric]}).mean
        return Score(*(mean[column][self.metric] for column in ('original', 'identity')), self.yardstick)

    def best_of(self, untold: Mapping[str, tuple], block: Mapping[str, Any]) -> list[tuple[dict[str, Any], float]]:
        """The values of settings that leave no trace in the weights, by their scores: (settings, score), best first.

        The network keeps the best. Whole images are looked at, as some settings tell on these only.
        """
        found = []
        for values in product(*untold.values()):
            settings = dict(zip(untold, values))
            self.net = self._loaded({**self.network, **settings})
            found.append((settings, self.score(block, whole=True).original))
        found.sort(key=lambda entry: -entry[1])  # stable: of equal ones the usual
        self.network.update(found[0][0])
        self.net = self._loaded(self.network)
        return found
