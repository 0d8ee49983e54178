"""AirNet, 'All-In-One Image Restoration for Unknown Corruption' (Li et al., CVPR 2022).

Parameter names and order are those of the authors' released checkpoints, so that these load.
"""
import copy

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from basicsr_unlearn.archs.deformable import modulated_deform_conv
from basicsr_unlearn.errors import DataError

SLOPE = 0.1  # of every leaky ReLU
WIDTH = 256  # of the representation, and keys in the queue per sample of a batch
MOMENTUM = 0.999  # of the key encoder, as MoCo (He et al., CVPR 2020)
TEMPERATURE = 0.07  # of the logits, as MoCo


def conv3x3(inner: int, outer: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=bias)


def lrelu(x: Tensor) -> Tensor:
    """In place: for what was computed just now and is needed by nothing else."""
    return F.leaky_relu(x, SLOPE, inplace=True)


class ResBlock(nn.Module):
    """Two convolutions beside a shortcut, all normalised: (b, inner, h, w) -> (b, outer, h / stride, w / stride)."""

    def __init__(self, inner: int, outer: int, stride: int = 1):
        super().__init__()
        self.backbone = nn.Sequential(
            conv3x3(inner, outer, stride, bias=False), nn.BatchNorm2d(outer), nn.LeakyReLU(SLOPE, inplace=True),
            conv3x3(outer, outer, bias=False), nn.BatchNorm2d(outer))
        self.shortcut = nn.Sequential(nn.Conv2d(inner, outer, 1, stride=stride, bias=False), nn.BatchNorm2d(outer))

    def forward(self, x: Tensor) -> Tensor:
        return lrelu(self.backbone(x) + self.shortcut(x))


class ResEncoder(nn.Module):
    """The degradation of an image: (b, 3, h, w) -> feature (b, 256), its projection (b, 256), map (b, n_feats, h, w).

    The map alone reaches the restored image, the projection alone the contrast.
    """

    def __init__(self, n_feats: int):
        super().__init__()
        self.E_pre = ResBlock(3, n_feats)
        self.E = nn.Sequential(ResBlock(n_feats, WIDTH // 2, 2), ResBlock(WIDTH // 2, WIDTH, 2),
                               nn.AdaptiveAvgPool2d(1))
        self.mlp = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.LeakyReLU(SLOPE), nn.Linear(WIDTH, WIDTH))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        inter = self.E_pre(image)
        fea = self.E(inter).flatten(1)
        return fea, self.mlp(fea), inter


class MoCo(nn.Module):
    """Momentum contrast over a queue of keys: two crops of one image have one degradation, other images another.

    Args:
        n_feats: channels of the encoder's map.
        queue_width: keys in the queue. Weights with a queue of another width load too: it takes theirs.
    """

    def __init__(self, n_feats: int, queue_width: int):
        super().__init__()
        self.register_buffer('queue', F.normalize(torch.randn(WIDTH, queue_width), dim=0))
        self.register_buffer('queue_ptr', torch.zeros(1, dtype=torch.long))
        self.encoder_q = ResEncoder(n_feats)
        self.encoder_k = copy.deepcopy(self.encoder_q).requires_grad_(False)

    def forward(self, query: Tensor, key: Tensor) -> tuple[Tensor, ...]:
        """See DegradationEncoder."""
        if not self.training:
            fea, _, inter = self.encoder_q(query)
            return fea, inter
        self.check_batch(len(key))
        fea, projection, inter = self.encoder_q(query)
        projection = F.normalize(projection)
        with torch.no_grad():
            for k, q in zip(self.encoder_k.parameters(), self.encoder_q.parameters()):
                k.mul_(MOMENTUM).add_(q, alpha=1 - MOMENTUM)
            keys = F.normalize(self.encoder_k(key)[1])
        same = (projection * keys).sum(1, keepdim=True)
        others = projection @ self.queue.clone()  # which changes before the backward pass
        logits = torch.cat([same, others], 1) / TEMPERATURE
        self._enqueue(keys)
        return fea, logits, torch.zeros(len(logits), dtype=torch.long, device=logits.device), inter

    def check_batch(self, size: int) -> None:
        """Raise DataError if a batch of this size does not go into the queue a whole number of times."""
        if self.queue.shape[1] % size:
            raise DataError(f"A batch of {size} does not divide AirNet's queue of {self.queue.shape[1]} keys: set "
                            'batch_size_per_gpu to a divisor of it, for instance to batch_size of network_g.')

    @torch.no_grad()
    def _enqueue(self, keys: Tensor) -> None:
        first = int(self.queue_ptr) % self.queue.shape[1]
        positions = torch.arange(first, first + len(keys), device=keys.device) % self.queue.shape[1]
        self.queue[:, positions] = keys.T.to(self.queue.dtype)
        self.queue_ptr[0] = (first + len(keys)) % self.queue.shape[1]

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args) -> None:
        queue = state_dict.get(f'{prefix}queue')
        if queue is not None and queue.dim() == 2 and len(queue) == WIDTH:
            self.queue = self.queue.new_empty(queue.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


class DegradationEncoder(nn.Module):
    """The contrastive-based degradation encoder (CBDE in the paper), where the authors' names have it.

    Called with a query and a key crop of the same images, (b, 3, h, w) each. In training: the feature (b, 256), the
    logits (b, 1 + queue width) of the own key and of the queue's, the labels (b,), which are 0, and the map
    (b, n_feats, h, w); the key encoder and the queue move on. Else: feature and map, and the key is not looked at.
    """

    def __init__(self, n_feats: int, queue_width: int):
        super().__init__()
        self.E = MoCo(n_feats, queue_width)

    def forward(self, query: Tensor, key: Tensor) -> tuple[Tensor, ...]:
        return self.E(query, key)


class DeformableLayer(nn.Module):
    """Deformable convolution of x whose offsets and mask come from x and the encoder's map, all (b, n_feats, h, w)."""

    def __init__(self, n_feats: int):
        super().__init__()
        self.weight = nn.Parameter(conv3x3(n_feats, n_feats).weight.detach())
        self.conv_offset_mask = conv3x3(2 * n_feats, 27)
        nn.init.zeros_(self.conv_offset_mask.weight)
        nn.init.zeros_(self.conv_offset_mask.bias)

    def forward(self, x: Tensor, inter: Tensor) -> Tensor:
        offset, mask = self.conv_offset_mask(torch.cat([x, inter], 1)).split((18, 9), 1)
        return modulated_deform_conv(x, offset, mask.sigmoid(), self.weight)


class SFTLayer(nn.Module):
    """Spatial feature transform: x scaled and shifted as the encoder's map says, all (b, n_feats, h, w)."""

    def __init__(self, n_feats: int):
        super().__init__()
        self.conv_gamma, self.conv_beta = (
            nn.Sequential(nn.Conv2d(n_feats, n_feats, 1, bias=False), nn.LeakyReLU(SLOPE, inplace=True),
                          nn.Conv2d(n_feats, n_feats, 1, bias=False)) for _ in range(2))

    def forward(self, x: Tensor, inter: Tensor) -> Tensor:
        return x * self.conv_gamma(inter) + self.conv_beta(inter)


class DGM(nn.Module):
    """The degradation-guided module, (b, n_feats, h, w) -> the same."""

    def __init__(self, n_feats: int):
        super().__init__()
        self.dcn = DeformableLayer(n_feats)
        self.sft = SFTLayer(n_feats)

    def forward(self, x: Tensor, inter: Tensor) -> Tensor:
        return x + self.dcn(x, inter) + self.sft(x, inter)


class DGB(nn.Module):
    """The degradation-guided block: two DGM, each followed by a convolution, beside a shortcut."""

    def __init__(self, n_feats: int):
        super().__init__()
        self.dgm1 = DGM(n_feats)
        self.dgm2 = DGM(n_feats)
        self.conv1 = conv3x3(n_feats, n_feats)
        self.conv2 = conv3x3(n_feats, n_feats)

    def forward(self, x: Tensor, inter: Tensor) -> Tensor:
        y = lrelu(self.conv1(lrelu(self.dgm1(x, inter))))
        return x + self.conv2(lrelu(self.dgm2(y, inter)))


class DGG(nn.Module):
    """The degradation-guided group: blocks and a convolution beside a shortcut."""

    def __init__(self, n_blocks: int, n_feats: int):
        super().__init__()
        self.body = nn.Sequential(*[DGB(n_feats) for _ in range(n_blocks)], conv3x3(n_feats, n_feats))

    def forward(self, x: Tensor, inter: Tensor) -> Tensor:
        return x + guided(self.body, x, inter)


class DGRN(nn.Module):
    """The degradation-guided restoration network: image (b, 3, h, w) and the encoder's map -> restored image."""

    def __init__(self, n_groups: int, n_blocks: int, n_feats: int):
        super().__init__()
        self.head = nn.Sequential(conv3x3(3, n_feats))
        self.body = nn.Sequential(*[DGG(n_blocks, n_feats) for _ in range(n_groups)], conv3x3(n_feats, n_feats))
        self.tail = nn.Sequential(conv3x3(n_feats, 3))

    def forward(self, image: Tensor, inter: Tensor) -> Tensor:
        x = self.head(image)
        return self.tail(x + guided(self.body, x, inter))


def guided(body: nn.Sequential, x: Tensor, inter: Tensor) -> Tensor:
    """Run a body of which all parts but the last, a convolution, take the encoder's map as well."""
    for part in body[:-1]:
        x = part(x, inter)
    return body[-1](x)


@ARCH_REGISTRY.register()
class AirNet(nn.Module):
    """AirNet: a contrastive encoder of the degradation guides a restoration network.

    Args:
        batch_size: samples in a training batch; the queue holds 256 keys for each. Weights with another queue load.
        n_groups, n_blocks, n_feats: groups, blocks in each, and channels; the authors' code has 5, 5 and 64 only.

    Shape: (b, 3, h, w) -> the same, any h and w. Values in [0, 1]; the output is not clamped.

    Raises:
        ValueError: a number below 1.
    """

    resizable_buffers = ('E.E.queue',)  # their last side is taken from the weights that are loaded

    def __init__(self, batch_size: int, n_groups: int = 5, n_blocks: int = 5, n_feats: int = 64):
        super().__init__()
        for name, value in (('batch_size', batch_size), ('n_groups', n_groups), ('n_blocks', n_blocks),
                            ('n_feats', n_feats)):
            if value < 1:
                raise ValueError(f'{name} is {value}: AirNet needs at least 1.')
        self.R = DGRN(n_groups, n_blocks, n_feats)
        self.E = DegradationEncoder(n_feats, WIDTH * batch_size)

    @property
    def dead_parameters(self) -> tuple[str, ...]:
        """Names of the parameters that get no gradient where restoration is trained without contrast."""
        return tuple(f'E.E.encoder_q.{name}' for name, _ in self.E.E.encoder_q.named_parameters()
                     if not name.startswith('E_pre.'))

    def forward(self, query: Tensor, key: Tensor | None = None, restore: bool = True
                ) -> Tensor | tuple[Tensor | None, Tensor, Tensor]:
        """Restore `query`.

        Args:
            query: degraded image.
            key: another crop of it, for the contrast; looked at in training only.
            restore: false to leave the restoration out, as the first phase of the training does.

        Returns:
            In training with a key: the restored image or None, and logits and labels as DegradationEncoder has them.
            Else the restored image alone; then queue and key encoder stay as they are (our choice: so any model that
            trains with one image in and one out can train this network).

        Raises:
            DataError: in training with a key, a batch that does not divide the queue.
        """
        if key is None or not self.training:
            return self.R(query, self.E.E.encoder_q.E_pre(query))
        _, logits, labels, inter = self.E(query, key)
        return self.R(query, inter) if restore else None, logits, labels
