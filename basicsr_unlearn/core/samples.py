"""What a step works with: batches, how a network runs on one, and the sample that every loss is called with.

The whole protocol, so that other networks and other data fit in without a change here:

    batch    a mapping of tensors by name, the first dimension counting the samples. Restoration has `lq`, the degraded
             input, and `gt`, the clean image, each (b, c, h, w) in [0, 1]; a generator may have `z`.
    stream   the name of a series of batches: `forget`, `retain`, or any other that a loss names as its `source`.
    run      run(net, batch) -> Tensor, how a network is used on a batch. `restore` is net(batch['lq']).
    loss     loss(sample) -> scalar; a module or function that is called with a `Sample`. Its attributes, all optional:
             `terms`, the `<term>_opt` of an option file that take it; `source`, the stream it looks at, by default that
             of its term's name; `trains`, the name of the network it moves, by default the first; `forgets`, whether
             it forgets, though its term is not `forget`; `own_pass`, whether it takes a gradient of its own by the
             stream's output. One without `terms` is called as loss(output, target), as BasicSR's and torch's are
             (see `objective.Paired`).
    score    score(output, sample) -> scalar, higher where it is better, or None where it cannot be told; with `name`,
             and `untouched(sample)`, the score of doing nothing. `batch_scores.Psnr` is one.
"""
from collections.abc import Callable, Container, Mapping
from functools import cached_property

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.modes import bare, eval_mode
from basicsr_unlearn.errors import OptionError

Batch = Mapping[str, Tensor]
Runner = Callable[[nn.Module, Batch], Tensor]


def restore(net: nn.Module, batch: Batch) -> Tensor:
    """How a restoration network is used: its output for the degraded images.

    >>> restore(nn.Identity(), {'lq': torch.zeros(1, 3, 8, 8)}).shape
    torch.Size([1, 3, 8, 8])
    """
    return net(batch['lq'])


class Sample:
    """One stream of one step, and all that a loss may ask about it; what is costly is computed once, when asked for.

    Args:
        batch: tensors by name; `sample['gt']` or `sample.gt`.
        net: the network in training, perhaps in DistributedDataParallel.
        teacher: a frozen copy of the original.
        proxy: a network that does not know the forget set.
        run: see above.
        stream: its name, for messages.
        nets: all networks in training by name, where there are several.
        streams: the samples of all streams of the step by name.
        generator: source of random numbers; None for torch's own, which the step has seeded.

    >>> sample = Sample({'lq': torch.zeros(2, 3, 8, 8)}, net=nn.Identity(), teacher=nn.Identity())
    >>> float((sample.output - sample.teacher_output).abs().mean())
    0.0
    """

    def __init__(self, batch: Batch, net: nn.Module, teacher: nn.Module | None = None, proxy: nn.Module | None = None,
                 run: Runner = restore, stream: str = 'forget', nets: Mapping[str, nn.Module] | None = None,
                 streams: Mapping[str, 'Sample'] | None = None, generator: torch.Generator | None = None) -> None:
        self.batch, self.net, self.run, self.stream, self.generator = batch, net, run, stream, generator
        self.nets = {'g': net} if nets is None else nets
        self.streams = {stream: self} if streams is None else streams
        self._teacher, self._proxy = teacher, proxy

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.batch:
            raise OptionError(f'The {self.stream} batches have no {name}, which a term of the objective needs: give it '
                              f'beside {", ".join(self.batch) or "the rest"}.')
        return self.batch[name]

    def get(self, name: str) -> Tensor | None:
        """A tensor of the batch, None where it has none of this name."""
        return self.batch.get(name)

    @property
    def lq(self) -> Tensor:
        """(b, c, h, w), the degraded input. Raises OptionError if there is none, as `gt`."""
        return self['lq']

    @property
    def gt(self) -> Tensor:
        """(b, c, h', w'), the clean image."""
        return self['gt']

    @property
    def teacher(self) -> nn.Module:
        """The frozen original. Raises OptionError if there is none."""
        return self._given('teacher', 'give a teacher')

    @property
    def proxy(self) -> nn.Module:
        """The network that does not know the forget set. Raises OptionError if there is none."""
        return self._given('proxy', 'add train.proxy_opt')

    def _given(self, which: str, cure: str) -> nn.Module:
        net = getattr(self, f'_{which}')
        if net is None:
            raise OptionError(f'train.{self.stream}_opt asks for the {which} network: {cure}.')
        return net

    @cached_property
    def output(self) -> Tensor:
        """What the network in training makes of the batch, with its graph, float32."""
        return self.through(self.net)

    @cached_property
    def teacher_output(self) -> Tensor:
        """What the original makes of it, without gradient, float32."""
        return self._without_gradient(self.teacher)

    @cached_property
    def proxy_output(self) -> Tensor:
        """What the proxy makes of it, without gradient, float32."""
        return self._without_gradient(self.proxy)

    @torch.no_grad()
    def _without_gradient(self, net: nn.Module) -> Tensor:
        return self.through(net)

    def through(self, net: nn.Module) -> Tensor:
        """What any network makes of the batch, float32."""
        return self.run(net, self if self.run is restore else self.batch).float()  # it says what is missing

    def known(self, name: str) -> bool:
        """Whether `output`, `teacher_output` or `proxy_output` was computed already."""
        return name in self.__dict__


def one_sample(batch: Batch) -> Batch:
    """The first sample of a batch, as a batch.

    >>> one_sample({'lq': torch.zeros(4, 3, 8, 8)})['lq'].shape
    torch.Size([1, 3, 8, 8])
    """
    return {name: value[:1] for name, value in batch.items()}


def run_streams(samples: Mapping[str, Sample], trained: Container[str], observed: Container[str], joint: bool = True
                ) -> list[str]:
    """Fill the outputs of the streams that are trained, with their graph, or only observed, without.

    Args:
        samples: by stream.
        trained, observed: names of streams; others among them do not matter.
        joint: run those that are trained in one pass, where their sizes are equal.

    Returns:
        The streams that now have an output.

    >>> sample = Sample({'lq': torch.zeros(2, 3, 8, 8)}, net=nn.Conv2d(3, 3, 1))
    >>> run_streams({'forget': sample}, trained=(), observed=['forget']), sample.output.requires_grad
    (['forget'], False)
    """
    shown = [stream for stream in samples if stream in trained or stream in observed]
    inputs = [samples[stream] for stream in shown if stream in trained]
    if joint and len({sample.lq.shape[1:] for sample in inputs}) == 1:
        outputs = inputs[0].net(torch.cat([sample.lq for sample in inputs]))
        for sample, output in zip(inputs, outputs.split([len(sample.lq) for sample in inputs])):
            sample.output = output.float()
    else:
        for sample in inputs:
            sample.output  # noqa: B018  in this order
    for sample in (samples[stream] for stream in shown if stream not in trained):
        net = bare(sample.net)
        with eval_mode(net), torch.no_grad():
            sample.output = sample.through(net)
    return shown


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The batch with its tensors on a device. Raises OptionError for what is no mapping.

    >>> on_device({'lq': torch.zeros(1), 'name': 'a'}, torch.device('cpu'))['name']
    'a'
    """
    if not isinstance(batch, Mapping):
        raise OptionError(f"A batch is a {type(batch).__name__}: give a mapping of tensors, such as {{'lq': images, "
                          "'gt': clean images}.")
    return {name: value.to(device) if torch.is_tensor(value) else value for name, value in batch.items()}
