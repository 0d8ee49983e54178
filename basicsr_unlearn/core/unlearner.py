"""The step of unlearning, for any trainer: plain PyTorch, free of BasicSR."""
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from basicsr_unlearn.core.batch_scores import Psnr
from basicsr_unlearn.core.building import (
    build_objective,
    build_optimizer,
    build_preparation,
    build_stop_rule,
    method_options,
)
from basicsr_unlearn.core.given import check_given, check_networks, check_optimizers, check_state
from basicsr_unlearn.core.gradients import gradient_cosine, require_finite
from basicsr_unlearn.core.modes import bare, frozen_copy, learning_copy
from basicsr_unlearn.core.objective import Objective
from basicsr_unlearn.core.observer import Observer
from basicsr_unlearn.core.parts import ErrorOf, Evidence, restoration_error
from basicsr_unlearn.core.passes import PassCounter
from basicsr_unlearn.core.preparation import Preparation
from basicsr_unlearn.core.processes import average_gradients, is_shared, of_first_process, rank
from basicsr_unlearn.core.rate import eased
from basicsr_unlearn.core.samples import Batch, Runner, Sample, on_device, restore, run_streams
from basicsr_unlearn.core.seeds import fresh_seed, own_random_numbers, step_seed
from basicsr_unlearn.core.stop_rule import StopRule
from basicsr_unlearn.errors import OptionError

MAIN = 'g'  # the name of the network where there is one


class Unlearner:
    """Makes a trained network forget, step by step.

        unlearner = Unlearner(net, method='calibrated')
        for forget, retain in batches:                        # each {'lq': (b, c, h, w) in [0, 1], 'gt': ...}
            log = unlearner.step(forget, retain)
            if unlearner.done:
                break

    A method is a preset by name, with any of its blocks changed by keyword as in an option file
    (`retain_opt={'target': 'gt'}`, `stop_opt=None`), or parts as objects (`objective`, `preparation`, `stop_rule`,
    `optimizer`), or both. `gt` may be absent where no term needs it, a stream where no term looks at it; then its
    scores are not in the log.

    Some methods look at batches before the first step (`deep` resets weights, `accurate_forgetting` fits its rate).
    Give them by `prepare`; else the first `preparation.batches` calls of `step` only collect theirs, change nothing,
    and return {'collected': how many}.

    A step draws its random numbers from a stream of its own, set by `seed`, the process and the iteration, and leaves
    torch's own as it was. So a run that goes on from `state_dict` equals the uninterrupted one, on the CPU bit for bit.

    Args:
        net: the trained network, perhaps in DistributedDataParallel, used in the mode it is in; or several by name, the
            first of which is edited, masked, taught and scored. Changed in place.
        method: the name of a preset; None where the parts are given.
        objective, preparation, stop_rule: parts as objects, in place of those of the method.
        optimizer: of the weights, in place of the method's and its rate; by name for several networks, each of which is
            moved by the terms that name it in `trains`.
        teacher: the frozen original; None is a copy of the network as it is now.
        run: how a network is used on a batch.
        score: of outputs, for the log and the stop rule.
        error: error(net, batch) -> scalar, what the network was trained to make small, for parts that look at batches.
        fresh: makes an untrained network of the same architecture, for methods that reset weights or train a proxy.
        total_iter: the length of the run, if it is known: `done` is true at its end, and some anchors fade until then.
        amp: 'bf16' for steps in bfloat16.
        conflict_freq: the cosine between the gradient of forgetting and of the rest is measured every so many steps.
        seed: see above.
        tell: called with a sentence that a person should read.
        options: blocks of the method, or in place of one: `forget_opt`, `retain_opt`, `adversarial_opt`, `anchor_opt`,
            `mask_opt`, `edit_opt`, `proxy_opt`, `phases`, `dual_opt`, `conflict_opt`, `stop_opt`, `optim_g` ...

    Raises:
        OptionError: an option cannot be, or something that the method needs is not there.

    >>> from basicsr_unlearn.core.losses import L1Loss, TargetLoss
    >>> unlearner = Unlearner(nn.Conv2d(3, 3, 1), 'calibrated', total_iter=1)
    >>> log = unlearner.step({'lq': torch.rand(2, 3, 8, 8)}, {'lq': torch.rand(2, 3, 8, 8)})
    >>> sorted(log), unlearner.done
    (['grad_norm', 'l_forget', 'l_retain'], True)
    """

    def __init__(self, net: nn.Module | Mapping[str, nn.Module], method: str | None = None, *,
                 objective: Objective | None = None, preparation: Preparation | None = None,
                 stop_rule: StopRule | None = None, optimizer: Optimizer | Mapping[str, Optimizer] | None = None,
                 teacher: nn.Module | None = None, run: Runner = restore, score: Callable | None = None,
                 error: ErrorOf = restoration_error, fresh: Callable[[], nn.Module] | None = None,
                 total_iter: int | None = None, amp: str | None = None, conflict_freq: int = 0, seed: int = 0,
                 tell: Callable[[str], None] = warnings.warn, **options: Any) -> None:
        check_given(options, objective=objective, preparation=preparation, stop_rule=stop_rule, optimizer=optimizer)
        train = method_options(method, options)
        self.nets = dict(net) if isinstance(net, Mapping) else {MAIN: net}
        check_networks(self.nets, amp)
        self.main = next(iter(self.nets))
        self.device = next(self.net.parameters()).device
        self.objective = (objective or build_objective(train, seed)).to(self.device)
        self.preparation = preparation or build_preparation(train, seed, fits_rate=optimizer is None)
        self.stop_rule = stop_rule or build_stop_rule(train)
        self.optimizers = dict(optimizer) if isinstance(optimizer, Mapping) else {
            self.main: optimizer or build_optimizer(train.get('optim_g') or {}, self.trainable(self.main))}
        check_optimizers(self.optimizers, self.nets, [self.objective.trains(term) for term in self.objective.losses])
        self.teacher = frozen_copy(self.net) if teacher is None else teacher
        self.run, self.error, self.fresh = run, error, fresh
        self.observer = Observer(score or Psnr(), self.stop_rule, self.objective.dual, is_shared(self.net), tell)
        self.total_iter, self.amp, self.conflict_freq, self.seed = total_iter, amp, conflict_freq, seed
        self.grad_clip = train.get('grad_clip') or float('inf')
        self.iteration, self.prepared = 0, False  # the last one trained; whether `prepare` was called
        self.grad_cosine, self.passes = torch.zeros((), device=self.device), PassCounter()
        self._kept: list[Mapping[str, Batch]] = []  # for the parts that look at some before the first step
        # networks with batch normalisation must not see forget and retain samples in one batch
        self.joint_forward = (run is restore and not self.objective.splits
                              and not any(isinstance(module, _BatchNorm) for module in self.net.modules()))
        if total_iter is None and any(anchor.needs_end for anchor in self.objective.anchors):
            raise OptionError('anchor_opt fades until the end of the run: give total_iter, or write decay: none.')

    @property
    def net(self) -> nn.Module:
        """The network that forgets, perhaps wrapped."""
        return self.nets[self.main]

    def trainable(self, name: str) -> list[nn.Parameter]:
        """The parameters of a network that take gradients."""
        return [p for p in self.nets[name].parameters() if p.requires_grad]

    @property
    def stopped(self) -> bool:
        """Whether the stop rule is met."""
        return self.stop_rule is not None and self.stop_rule.met(self.iteration)

    @property
    def done(self) -> bool:
        """Whether the stop rule is met or the run at its end; further steps then change nothing."""
        return self.stopped or (self.total_iter is not None and self.iteration >= self.total_iter)

    # ---------------------------------------------------------------- before the first step

    def prepare(self, forget: Sequence[Batch] = (), retain: Sequence[Batch] = ()) -> None:
        """Edit, mask, anchor, train the proxy and fit the rate, as the method asks. Raises OptionError if a part lacks
        its batches, or `fresh`.

        Args:
            forget, retain: batches for the parts to look at, of the size that steps have.
        """
        if self.prepared:
            return
        streams = [[on_device(batch, self.device) for batch in batches] for batches in (forget, retain)]
        evidence = Evidence(learning_copy(self.teacher, bare(self.net)), *streams, self._untrained,
                            torch.Generator().manual_seed(self.seed), self.error, self.run)
        with self.passes.counting({**self.nets, 'preparation': evidence.teacher} if self.iteration == 0 else {}):
            self.preparation.run(self.net, evidence, self.objective.anchors, first=self.iteration == 0)
        if self.preparation.rate is not None and self.iteration == 0:
            self.preparation.rate = rate = of_first_process(self.preparation.rate, self.device, is_shared(self.net))
            for group in self.optimizers[self.main].param_groups:
                group.update({name: rate * group[name] for name in ('lr', 'initial_lr') if name in group})
        self.prepared = True  # only now: after an error the next step must not train a network that is half set up

    def _untrained(self, seed: int | None = None) -> nn.Module:
        """A network of the same architecture with fresh weights, which the run's seed sets where none is given."""
        if self.fresh is None:
            raise OptionError('This method needs an untrained network: give fresh, a function that makes one.')
        with own_random_numbers(fresh_seed(self.seed) if seed is None else seed, self.device):
            return self.fresh().to(self.device)

    def _collect(self, batches: Mapping[str, Batch]) -> bool:
        """Keep batches for the parts that look at some; prepare once there are enough. Whether it keeps on."""
        if self.preparation.needs(self.objective.anchors) and len(self._kept) < self.preparation.batches:
            self._kept.append(batches)
            return True
        self.prepare(*([batch[stream] for batch in self._kept if stream in batch] for stream in ('forget', 'retain')))
        self._kept = []
        return False

    # ---------------------------------------------------------------- one step

    def step(self, forget: Batch | None = None, retain: Batch | None = None, **more: Batch) -> dict[str, Tensor]:
        """Minimise the objective a little.

        Args:
            forget, retain: batches, mappings of tensors by name.
            more: other streams that a loss names as its `source`.

        Returns:
            `l_<term>`, `grad_norm`, and in dB `psnr_forget`, `psnr_forget_input`, `psnr_retain` ..., before the update:
            scalars on the network's device.

        Raises:
            OptionError: a term has no batch, or a batch lacks what a term needs.
            TrainingError: loss or gradient is not finite; nothing was changed.
        """
        batches = {stream: on_device(batch, self.device) for stream, batch in
                   {'forget': forget, 'retain': retain, **more}.items() if batch is not None}
        if self.done:
            return {}
        self.check_streams(batches)
        if not self.prepared and self._collect(batches):
            return {'collected': torch.tensor(len(self._kept))}
        iteration, log = self.iteration + 1, {}
        for anchor in self.objective.anchors:
            anchor.progress = self.iteration / self.total_iter if self.total_iter else 0.0
        with (own_random_numbers(step_seed(self.seed, rank(), iteration), self.device),
              self.passes.counting({**self.nets, 'teacher': self.teacher, 'proxy': self.preparation.proxy})):
            for name in self.optimizers:
                log |= self._update(name, batches, iteration)
        self.iteration = iteration
        return log

    def _update(self, name: str, batches: Mapping[str, Batch], iteration: int) -> dict[str, Tensor]:
        """Move one network by its terms."""
        optimizer, net, objective = self.optimizers[name], bare(self.nets[name]), self.objective
        is_main = name == self.main
        active = [term for term in objective.active(iteration, self.stop_rule is not None and self.stop_rule.holding)
                  if (objective.trains(term) or self.main) == name]
        if not active:
            return {}
        optimizer.zero_grad(set_to_none=True)
        with_cosine = (is_main and self.conflict_freq and (iteration - 1) % self.conflict_freq == 0
                       and 'forget' in objective.losses and active != ['forget'])
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.amp == 'bf16'):
            samples = self._samples(batches, name)
            shown = run_streams(samples, {*active, 'forget'} if with_cosine else {*active}, self.observer.streams,
                                self.joint_forward) if is_main else []
            losses = objective.values(samples, {*active, *shown}, net)
            scores = self.observer.scores(samples, shown)
        if with_cosine:
            rest = sum(loss for term, loss in losses.items() if term != 'forget')
            self.grad_cosine = gradient_cosine(losses['forget'], rest, self.trainable(name))
        total = objective.backward(losses, active, net)
        if objective.conflict is not None and is_shared(self.nets[name]):
            average_gradients(self.trainable(name))
        masking = self.preparation.masking if is_main else None
        if masking is not None:
            masking.mask_gradients(net)
        norm = torch.nn.utils.clip_grad_norm_(self.trainable(name), self.grad_clip)
        # the gradient is the same on all ranks, so all of them leave together
        require_finite(norm if is_shared(self.nets[name]) else total, norm, iteration)
        with (eased(optimizer, 1.0 if self.stop_rule is None else self.stop_rule.share),
              nullcontext() if masking is None else masking.held(net)):
            optimizer.step()
        log = {f'l_{term}': loss.detach().float() for term, loss in losses.items()}
        log |= {**scores, ('grad_norm' if is_main else f'grad_norm_{name}'): norm.detach().float()}
        if not is_main:
            return log
        self.observer.observe(scores)
        if self.conflict_freq:
            log['grad_cosine'] = self.grad_cosine
        if objective.dual is not None:
            log['dual_weight'] = torch.tensor(objective.dual.value, device=self.device)
        return log

    def check_streams(self, batches: Mapping[str, Batch]) -> None:
        """Raise OptionError if the data lack a stream that a term or the stop rule needs."""
        needs = {f'{term}_opt': self.objective.source(term) for term in self.objective.losses}
        needs.update({f'stop_opt needs PSNR of the {stream} stream, which': stream for stream in self.observer.streams})
        for name, stream in needs.items():
            if stream not in batches:
                raise OptionError(f'{self.objective.where}{name} has no data: there are no {stream} batches.')

    def _samples(self, batches: Mapping[str, Batch], name: str) -> dict[str, Sample]:
        # DistributedDataParallel could not follow two separate gradients
        nets = self.nets if self.objective.conflict is None else {key: bare(net) for key, net in self.nets.items()}
        samples: dict[str, Sample] = {}
        for stream, batch in batches.items():
            samples[stream] = Sample(batch, nets[name], self.teacher, self.preparation.proxy, self.run, stream, nets,
                                     samples)
        return samples

    # ---------------------------------------------------------------- state

    def state_dict(self) -> dict:
        """All that an exact resume needs, networks included; plain enough for `torch.load(..., weights_only=True)`."""
        return {'iteration': self.iteration, 'seed': self.seed, 'prepared': self.prepared,
                'nets': {name: bare(net).state_dict() for name, net in self.nets.items()},
                'teacher': self.teacher.state_dict(), 'terms': self.objective.terms,
                'optimizers': {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
                'objective': {**self.objective.state_dict(), 'anchors': self.objective.anchors.state_dict()},
                'preparation': self.preparation.state_dict(), 'grad_cosine': float(self.grad_cosine),
                'stop_rule': self.stop_rule and self.stop_rule.state_dict(), 'passes': self.passes.samples}

    def load_state_dict(self, state: Mapping) -> None:
        """Go on from a state, in an unlearner of the same method and networks. Raises OptionError for another."""
        check_state(state, self.objective.terms)
        self.iteration, self.seed, self.prepared = state['iteration'], state['seed'], state['prepared']
        for name, net in self.nets.items():
            bare(net).load_state_dict(state['nets'][name])
        self.teacher.load_state_dict(state['teacher'])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state['optimizers'][name])
        self.objective.load_state_dict(state['objective'])
        self.objective.anchors.load_state_dict(state['objective']['anchors'])
        self.preparation.load_state_dict(state['preparation'], self.teacher)
        self.passes, self.grad_cosine = PassCounter(state['passes']), torch.tensor(state['grad_cosine']).to(self.device)
        if self.stop_rule is not None:
            self.stop_rule.load_state_dict(state['stop_rule'])

