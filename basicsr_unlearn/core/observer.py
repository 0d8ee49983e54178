"""How the batches of a step score, for the log, and for what decides by it: the stop rule and the dual weight."""
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from basicsr_unlearn.core.dual import DualWeight
from basicsr_unlearn.core.processes import mean_of_processes
from basicsr_unlearn.core.samples import Sample
from basicsr_unlearn.core.stop_rule import StopRule
from basicsr_unlearn.errors import OptionError


class Observer:
    """Scores the outputs of a step before its update.

    Args:
        score: see `samples`.
        stop_rule, dual: are told of the scores; None where there is none.
        shared: whether several processes train together; all are told the same.
        tell: called with a sentence for a person.

    Raises:
        OptionError: the score lacks `name` or `untouched`.

    >>> from basicsr_unlearn.core.batch_scores import Psnr
    >>> Observer(Psnr(), StopRule(retain_budget=0.1)).streams
    ['forget', 'retain']
    """

    def __init__(self, score: Callable, stop_rule: StopRule | None = None, dual: DualWeight | None = None,
                 shared: bool = False, tell: Callable[[str], None] = print) -> None:
        if not (hasattr(score, 'name') and hasattr(score, 'untouched')):
            raise OptionError('score has no name or no untouched, the score of doing nothing: give an object with '
                              'both, as core.batch_scores.Psnr.')
        self.score, self.stop_rule, self.dual, self.shared, self.tell = score, stop_rule, dual, shared, tell

    @property
    def streams(self) -> list[str]:
        """The streams whose scores the stop rule needs at each step."""
        return [stream for stream in ('forget', 'retain') if self.stop_rule and self.stop_rule.observes(stream)]

    def scores(self, samples: Mapping[str, Sample], shown: Sequence[str]) -> dict[str, Tensor]:
        """`<score>_<stream>`, beside it that of the input, and of the original where something needs it.

        Raises:
            OptionError: the stop rule or the dual weight goes by a score, and a batch has no `gt` to be scored by.
        """
        scores = {}
        for stream in shown:
            sample, key = samples[stream], f'{self.score.name}_{stream}'
            if (value := self.score(sample.output, sample)) is None:
                by_dual = stream == 'retain' and self.dual is not None
                if asking := 'stop_opt' if stream in self.streams else 'dual_opt' if by_dual else None:
                    raise OptionError(f'{asking} goes by the scores of {stream} batches, which have no gt: give it, or '
                                      f'write {asking}: ~.')
                continue
            scores[key] = value
            if stream == 'forget':
                scores[f'{key}_input'] = self.score.untouched(sample)
                taught = stream in self.streams and self.stop_rule.start is None
            else:
                taught = sample.known('teacher_output') or stream in self.streams or self.dual is not None
            if taught:
                scores[f'{key}_original'] = self.score(sample.teacher_output, sample)
        return scores

    def observe(self, scores: Mapping[str, Tensor]) -> None:
        """Tell the dual weight and the stop rule."""
        name = self.score.name
        if self.dual is not None and f'{name}_retain_original' in scores:
            drop = scores[f'{name}_retain_original'] - scores[f'{name}_retain']
            self.dual.observe(float(mean_of_processes(drop, self.shared)))
        if not self.streams:
            return
        rule, forget = self.stop_rule, scores[f'{name}_forget']
        reference = scores[f'{name}_forget_input'] if rule.reference == 'identity' else rule.reference
        if f'{name}_forget_original' in scores:
            self.note_start(float(mean_of_processes(scores[f'{name}_forget_original'] - reference, self.shared)))
        values = [forget - reference]
        if 'retain' in self.streams:
            values.append(scores[f'{name}_retain_original'] - scores[f'{name}_retain'])
        rule.observe(*mean_of_processes(torch.stack(values), self.shared).tolist())

    def note_start(self, gap: float) -> None:
        """Tell the stop rule where the original is, in dB above the reference, and a person if it cannot work from
        there.
        """
        self.stop_rule.start = gap
        if self.stop_rule.blind:
            self.tell(f'The stop rule is left out: the original itself is {gap:+.2f} dB from the reference '
                      f'({self.stop_rule.reference}), so the rule cannot tell when something is forgotten, and '
                      'train.total_iter ends the run.')
