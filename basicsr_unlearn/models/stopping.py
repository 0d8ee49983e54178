"""The stop rule in a training run: what it observes, and how the run ends when it is met."""
import math
from collections.abc import Mapping
from itertools import accumulate

import torch
from basicsr.utils import get_root_logger

from basicsr_unlearn.core.building import has_auto_rate
from basicsr_unlearn.core.observer import Observer
from basicsr_unlearn.core.stop_rule import StopRule
from basicsr_unlearn.data.drawn import end_training_data
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.models.tracking import ValidationTracking, psnr_metric

SHOWN = {'shown': True}  # as `extra=` of a log call: a line for a person, not for the log file alone
DEAD_RATE = 0.1  # share of the rate, below which steps no longer get anywhere; our choice


class Stopping:
    """How a run ends by its stop rule, which looks at batches (`check: train`) or at the val_ sets (`check: val`): the
    mean over the forget sets, the worst of the retain sets. All processes observe the same values, so that they agree.

    Args:
        rule: None for a run of fixed length.
        opt: the options of the run.
        tracking: has the references of the val_ sets.
        observer: tells of a rule that cannot work.
    """

    def __init__(self, rule: StopRule | None, opt: Mapping, tracking: ValidationTracking, observer: Observer):
        self.rule, self.opt, self.tracking, self.observer = rule, opt, tracking, observer
        self.stopped = False
        if rule is None:
            return
        total_iter = int(opt['train']['total_iter'])
        left = rate_left(opt['train']['scheduler'], total_iter)
        if left < DEAD_RATE:
            get_root_logger().warning(
                f'train.scheduler takes the rate to {100 * left:.2g} % by iteration {total_iter}, so that a stop rule '
                'not met early may never be: train.scheduler: {type: MultiStepLR, milestones: ' f'[{total_iter}]' '} '
                'keeps the rate.')

    @property
    def _validates(self) -> bool:
        # after the stop, processes may have fetched different numbers of batches ahead and no longer meet
        return self.rule is not None and self.rule.check == 'val' and not self.stopped

    def observe_round(self, results: Mapping[str, Mapping[str, float]]) -> None:
        """Show the rule one validation: the metrics of each data set by name."""
        if not self._validates:
            return
        metric, gaps, starts, drops = psnr_metric(self.opt), [], [], [0.0]
        for name, role in self.tracking.roles().items():
            if metric not in results[name]:
                raise OptionError(f'train.stop_opt has check: val but the data set {name} has no ground truth to '
                                  'measure PSNR with.')
            psnr, references = results[name][metric], self.tracking.references[name]
            if role == 'forget':
                by_name = isinstance(self.rule.reference, str)
                reference = references[self.rule.reference][metric] if by_name else self.rule.reference
                gaps.append(psnr - reference)
                starts.append(references['original'][metric] - reference)
            else:
                drops.append(references['original'][metric] - psnr)
        if self.rule.start is None:
            self.observer.note_start(sum(starts) / len(starts))
        self.rule.observe(sum(gaps) / len(gaps), max(drops))

    def share_observations(self) -> None:
        """Give all processes what the first one, which alone validates, has observed."""
        if self._validates:
            state = [self.rule.state_dict()]
            torch.distributed.broadcast_object_list(state, src=0)
            self.rule.load_state_dict(state[0])

    def stop_now(self, iteration: int) -> bool:
        """Whether the rule was met by the last iteration; then the training data end, and BasicSR's loop with them."""
        if not self.stopped and self.rule is not None and self.rule.met(iteration):
            self.stopped = True
            end_training_data()
            self._announce(iteration)
        return self.stopped

    def _announce(self, iteration: int) -> None:
        get_root_logger().info(f'Stop rule met at iteration {iteration}: forget PSNR {self._where()} dB from its '
                               f'reference ({self.rule.reference}, margin {self.rule.margin} dB){self._budget()}.',
                               extra=SHOWN)

    def _where(self) -> str:
        return f'{self.rule.gap:+.2f}'

    def _budget(self) -> str:
        rule = self.rule
        return '' if rule.retain_budget is None else f'; retain loss {rule.drop:.2f} dB of {rule.retain_budget} dB'

    def report_end(self, iteration: int) -> None:
        """Say so if the run ends before the rule is met, or before its last iteration."""
        total_iter, rule = int(self.opt['train']['total_iter']), self.rule
        if self.stopped:
            return
        if rule is not None and rule.met(iteration):
            self._announce(iteration)
        elif rule is not None and not rule.blind:
            found = (f'is {self._where()} dB from its reference{self._budget()}' if rule.full else
                     'was never measured over a whole window')
            rate = 'forget_step' if has_auto_rate(self.opt['train']) else 'optim_g.lr'
            get_root_logger().warning(f'The stop rule was not met in {iteration} iterations: forget PSNR {found}. '
                                      f'Raise train.total_iter or train.{rate} if more is to be forgotten.')
        if iteration < total_iter:
            get_root_logger().warning(f'The data ended after {iteration} of train.total_iter {total_iter} '
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
