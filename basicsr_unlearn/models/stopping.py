"""The stop rule in a training run: what it observes, and how the run ends when it is met."""
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate

import torch
from basicsr.utils import get_root_logger

from basicsr_unlearn.core.stop_rule import StopRule
from basicsr_unlearn.data.drawn import end_training_data
from basicsr_unlearn.engine.terminal import SHOWN
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.models.preparing import has_auto_rate

DEFAULT_TRAIN_WINDOW = 10  # steps, since the score of one batch is noisy; a validation is one observation
DEAD_RATE = 0.1  # share of the rate, below which steps no longer get anywhere; our choice


class Stopping:
    """Mixin before SRModel: `train.stop_opt`. All processes observe the same values, so that they agree.

    With `check: train` the scores are those of each step's batch, before its update. With `check: val` those of the
    val_ sets: the mean over the forget sets, the worst of the retain sets.
    """

    stop_rule: StopRule | None = None
    stop_check = 'train'
    stop_reference: str | float = 'identity'
    stop_ease = 1.0
    stopped = False

    def set_up_stop_rule(self, opt: dict | None) -> None:
        """Read `train.stop_opt`. Raises OptionError if it asks for what the rest of the file does not give."""
        if opt is None:
            return
        self.stop_check = opt.get('check') or 'train'
        self.stop_reference = opt.get('forget_psnr') or 'identity'
        self.stop_ease = opt.get('ease') or 1.0
        budget = opt.get('retain_budget')
        if self.stop_reference == 'retrained' and (self.stop_check != 'val' or self.retrained is None):
            raise OptionError('train.stop_opt.forget_psnr: retrained needs check: val and '
                              'path.pretrain_network_retrained.')
        if budget is not None and not {'retain', 'adversarial'} & set(self.losses):
            raise OptionError('train.stop_opt.retain_budget needs a retain_opt or adversarial_opt that can keep it.')
        if self.stop_check == 'val' and (self.psnr_metric() is None or 'forget' not in self.roles().values()):
            raise OptionError('train.stop_opt with check: val needs a val_ data set with role: forget, and a metric of '
                              'type calculate_psnr under val.metrics.')
        window = opt.get('window') or (DEFAULT_TRAIN_WINDOW if self.stop_check == 'train' else 1)
        self.stop_rule = StopRule(opt.get('margin') or 0.0, budget, window, opt.get('min_iter') or 0)
        total_iter = int(self.opt['train']['total_iter'])
        left = rate_left(self.opt['train']['scheduler'], total_iter)
        if left < DEAD_RATE:
            get_root_logger().warning(
                f'train.scheduler takes the rate to {100 * left:.2g} % by iteration {total_iter}, so that a stop rule '
                'not met early may never be: train.scheduler: {type: MultiStepLR, milestones: ' f'[{total_iter}]' '} '
                'keeps the rate.')

    @property
    def holding(self) -> bool:
        """Whether forgetting rests so that the retain set can recover."""
        return self.stop_rule is not None and self.stop_rule.holding

    @contextmanager
    def eased(self) -> Iterator[None]:
        """With a rate that falls with what is left of the way, down to `ease` of what the schedule gives: a rule that
        averages several steps is met late where each goes far.
        """
        share = 1.0 if self.stop_rule is None else max(self.stop_ease, self.stop_rule.left)
        rates = [group['lr'] for group in self.optimizer_g.param_groups]
        for group, rate in zip(self.optimizer_g.param_groups, rates):
            group['lr'] = share * rate
        yield
        for group, rate in zip(self.optimizer_g.param_groups, rates):
            group['lr'] = rate

    def observes(self, stream: str) -> bool:
        """Whether the rule needs the score of this stream of the training batch."""
        if self.stop_rule is None or self.stop_check != 'train':
            return False
        return stream == 'forget' or self.stop_rule.retain_budget is not None

    def observe_batch(self, scores: dict[str, torch.Tensor]) -> None:
        """Show the rule one training batch, by its PSNR in dB."""
        if not self.observes('forget'):
            return
        reference = scores['psnr_forget_input'] if self.stop_reference == 'identity' else self.stop_reference
        if 'psnr_forget_original' in scores:
            self._note_start(float(self._mean_of_processes(scores['psnr_forget_original'] - reference)))
        values = [scores['psnr_forget'] - reference]
        if self.observes('retain'):
            values.append(scores['psnr_retain_original'] - scores['psnr_retain'])
        self.stop_rule.observe(*self._mean_of_processes(torch.stack(values)).tolist())

    def _mean_of_processes(self, values: torch.Tensor) -> torch.Tensor:
        values = values.double()
        if self.opt['dist']:
            torch.distributed.all_reduce(values)
            values /= self.opt['world_size']
        return values

    def _note_start(self, gap: float) -> None:
        """Tell the rule where the original is, and a person if the rule cannot work from there."""
        self.stop_rule.start = gap
        if self.stop_rule.blind:
            get_root_logger().warning(
                f'The stop rule is left out: the original itself is {gap:+.2f} dB from the reference '
                f'({self.stop_reference}), so the rule cannot tell when something is forgotten, and train.total_iter '
                'ends the run.')

    def observe_round(self, results: dict[str, dict[str, float]]) -> None:
        """Show the rule one validation: the metrics of each data set by name."""
        if self.stop_rule is None or self.stop_check != 'val' or self.stopped:
            return
        metric, gaps, starts, drops = self.psnr_metric(), [], [], [0.0]
        for name, role in self.roles().items():
            if metric not in results[name]:
                raise OptionError(f'train.stop_opt has check: val but the data set {name} has no ground truth to '
                                  'measure PSNR with.')
            psnr, references = results[name][metric], self.references[name]
            if role == 'forget':
                by_name = isinstance(self.stop_reference, str)
                reference = references[self.stop_reference][metric] if by_name else self.stop_reference
                gaps.append(psnr - reference)
                starts.append(references['original'][metric] - reference)
            else:
                drops.append(references['original'][metric] - psnr)
        if self.stop_rule.start is None:
            self._note_start(sum(starts) / len(starts))
        self.stop_rule.observe(sum(gaps) / len(gaps), max(drops))

    def share_observations(self) -> None:
        """Give all processes what the first one, which alone validates, has observed."""
        # after the stop, processes may have fetched different numbers of batches ahead and no longer meet
        if self.stop_rule is None or self.stop_check != 'val' or self.stopped:
            return
        state = [self.stop_rule.state_dict()]
        torch.distributed.broadcast_object_list(state, src=0)
        self.stop_rule.load_state_dict(state[0])

    def stop_now(self, current_iter: int) -> bool:
        """Whether the rule was met by the iteration before; then the training data end, and BasicSR's loop with them.
        """
        if not self.stopped and self.stop_rule is not None and self.stop_rule.met(current_iter - 1):
            self.stopped = True
            end_training_data()
            self.log_dict = {}
            self.announce_stop()
        return self.stopped

    def announce_stop(self) -> None:
        rule = self.stop_rule
        budget = '' if rule.retain_budget is None else f'; retain loss {rule.drop:.2f} dB of {rule.retain_budget} dB'
        get_root_logger().info(f'Stop rule met at iteration {self.iteration}: forget PSNR {rule.gap:+.2f} dB from its '
                               f'reference ({self.stop_reference}, margin {rule.margin} dB){budget}.', extra=SHOWN)

    def report_end(self) -> None:
        """Say so if the run ends before the rule is met, or before its last iteration."""
        total_iter, rule = int(self.opt['train']['total_iter']), self.stop_rule
        if self.stopped:
            return
        if rule is not None and rule.met(self.iteration):
            self.announce_stop()
        elif rule is not None and not rule.blind:
            found = 'was never measured over a whole window' if not rule.full else (
                f'is {rule.gap:+.2f} dB from its reference' +
                ('' if rule.retain_budget is None else f', retain loss {rule.drop:.2f} dB of {rule.retain_budget} dB'))
            rate = 'forget_step' if has_auto_rate(self.opt['train']) else 'optim_g.lr'
            get_root_logger().warning(f'The stop rule was not met in {self.iteration} iterations: forget PSNR {found}. '
                                      f'Raise train.total_iter or train.{rate} if more shall be forgotten.')
        if self.iteration < total_iter:
            get_root_logger().warning(f'The data ended after {self.iteration} of train.total_iter {total_iter} '
                                      'iterations: BasicSR counts the incomplete batch at the end of each epoch but '
                                      'drops it, so give datasets.train whole batches or a dataset_enlarge_ratio.')


def rate_left(scheduler: Mapping, total_iter: int) -> float:
    """Share of the rate that a schedule of BasicSR leaves at the last iteration, its least rate and restarts of
    `MultiStepLR` aside.

    Args:
        scheduler: `train.scheduler`.
        total_iter: `train.total_iter`.
    """
    if 'periods' not in scheduler:
        return scheduler.get('gamma', 0.1) ** sum(milestone < total_iter for milestone in scheduler['milestones'])
    ends = list(accumulate(scheduler['periods']))
    index = next((i for i, end in enumerate(ends) if total_iter - 1 <= end), len(ends) - 1)
    done = (total_iter - 1 - ends[index]) / scheduler['periods'][index] + 1
    return scheduler.get('restart_weights', [1])[index] * (1 + math.cos(math.pi * done)) / 2
