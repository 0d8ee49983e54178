"""What happens once, before the first step: edits of the weights, masks, anchors, a proxy network, the rate."""
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from basicsr_unlearn.core.masking import Masking
from basicsr_unlearn.core.modes import bare, frozen_copy
from basicsr_unlearn.core.parts import Anchor, Edit, Evidence, Mask
from basicsr_unlearn.core.processes import is_shared, share_weights
from basicsr_unlearn.core.proxy import train_proxy
from basicsr_unlearn.core.rate import fitted_rate
from basicsr_unlearn.errors import OptionError

DEFAULT_EVIDENCE_BATCHES = 16  # per stream; our choice: 128 samples at the usual batch of 8


class Preparation:
    """Parts that look at the original network and at some batches, and set the run up.

    Args:
        edits: change the weights, in this order.
        masks: say which weights may move; all must agree.
        proxy: options of `train_proxy`, which makes a network that does not know the forget set; None for none.
        forget_step: fits the learning rate, see `fitted_rate`; None leaves it.
        batches: how many of each stream the parts look at.
        where: what comes before the name of an option in a message.

    Attributes:
        masking: what the masks come to, None without any; `proxy`: the network, None without one; `changed`: how many
        weights the edits changed; `rate`: the fitted rate, each after `run`.

    >>> from basicsr_unlearn.core.edits.noise_edit import WeightNoise
    >>> preparation, net = Preparation([WeightNoise(0.1)]), nn.Conv2d(3, 3, 1)
    >>> preparation.run(net, Evidence(net))
    >>> preparation.changed
    9
    """

    def __init__(self, edits: Sequence[Edit] = (), masks: Sequence[Mask] = (), proxy: Mapping[str, Any] | None = None,
                 forget_step: float | None = None, batches: int = DEFAULT_EVIDENCE_BATCHES, where: str = '') -> None:
        self.edits, self.masks, self.proxy_options = list(edits), list(masks), proxy
        self.forget_step, self.batches, self.where = forget_step, batches, where
        self.masking: Masking | None = None
        self.proxy: nn.Module | None = None
        self.changed = 0
        self.rate: float | None = None

    def needs(self, anchors: Sequence[Anchor] = ()) -> dict[str, str]:
        """The streams that the parts look at, each with the name of an option that does."""
        proxy = self.proxy_options or {}
        needed = {'retain': 'proxy_opt'} if proxy.get('iters') else {}
        if self.forget_step is not None:
            needed['forget'] = 'optim_g.lr'
        for name, parts in (('anchor_opt', anchors), ('mask_opt', self.masks), ('edit_opt', self.edits),
                            ('proxy_opt.edit_opt', proxy.get('edits', ()))):
            needed |= {stream: name for part in parts for stream in part.needs}
        return needed

    def run(self, net: nn.Module, evidence: Evidence, anchors: Sequence[Anchor] = (), first: bool = True) -> None:
        """Edit the network, and measure masks, anchors, the proxy and the rate.

        Args:
            net: perhaps in DistributedDataParallel; changed by the edits alone.
            evidence: with the streams that `needs` names.
            anchors: are prepared too.
            first: false where the network was edited, and the rate fitted, before an interruption.

        Raises:
            OptionError: a stream is missing, the masks let nothing move, or the rate cannot be fitted.
        """
        shared, net = is_shared(net), bare(net)
        for stream, name in sorted(self.needs(anchors).items()):
            if not getattr(evidence, stream):
                raise OptionError(f'{self.where}{name} looks at {stream} samples, but the data give no {stream} '
                                  'stream.')
        if self.proxy_options is not None:
            self.proxy = train_proxy(evidence, **self.proxy_options).requires_grad_(False)
        if first and self.edits:
            before = {name: p.detach().clone() for name, p in net.named_parameters()}
            for edit in self.edits:
                edit(net, evidence)
            if shared:  # an edit may draw what no other process can
                share_weights(net)
            self.changed = sum(int((p != before[name]).sum()) for name, p in net.named_parameters())
        if self.masks:
            self.masking = Masking([mask(evidence) for mask in self.masks], net)
            if not self.masking.moving:
                raise OptionError(f'{self.where}mask_opt lets no weight move, so nothing would be unlearned: widen it.')
        for anchor in anchors:
            anchor.prepare(evidence)
        if first and self.forget_step is not None:
            try:
                self.rate = fitted_rate(net, evidence.forget, self.forget_step, self.masking and self.masking.masks)
            except ValueError as error:
                raise OptionError(
                    f'{self.where}optim_g.lr: auto cannot fit a rate: {error}. Write a number.') from error

    def state_dict(self) -> dict:
        return {'masking': self.masking and self.masking.state_dict(), 'changed': self.changed, 'rate': self.rate,
                'proxy': self.proxy and self.proxy.state_dict()}

    def load_state_dict(self, state: Mapping, original: nn.Module) -> None:
        """Take up a state; the proxy is a copy of `original` with its own weights."""
        device = next(original.parameters()).device
        self.changed, self.rate = state['changed'], state['rate']
        self.masking = state['masking'] and Masking.of_state(state['masking'], device)
        if state['proxy'] is not None:
            self.proxy = frozen_copy(original)
            self.proxy.load_state_dict(state['proxy'])

