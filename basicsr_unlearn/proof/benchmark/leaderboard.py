"""The numbers of a leaderboard: methods held against the original and the networks retrained without the target."""
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev

from basicsr_unlearn.core.judgement import (
    disagreement,
    gap_to,
    is_reference,
    nothing_to_forget,
    retain_loss,
)
from basicsr_unlearn.core.leads import Lead, Trail, leads_of, worst_lead
from basicsr_unlearn.core.yardstick import PSNR, Yardstick
from basicsr_unlearn.proof.attackers.statistics import one_more
from basicsr_unlearn.proof.run_cost import arithmetic, retraining_arithmetic
from basicsr_unlearn.proof.words import enumerated

Trails = list[Trail]
Number = tuple[float, float | None]  # mean over seeds, and standard deviation, None of one


@dataclass(frozen=True)
class Contest:
    """What methods are compared on.

    Args:
        target: name of the test set that is to be forgotten, on which it is judged whether it can be.
        strengths: further test sets of it.
        retraining: `steps` and `batch` of a retrained network.
        patch: side of its patches in pixels.
        budgets: percent of its arithmetic, rising; methods are ranked within each.
        yardstick: PSNR with the margin by which an original has a skill, and a retrained network lacks it.
    """
    target: str
    retraining: Mapping[str, int]
    patch: int
    strengths: tuple[str, ...] = ()
    budgets: tuple[float, ...] = (1, 10, 20)
    yardstick: Yardstick = PSNR

    def share(self, run: Mapping) -> float:
        """What a run has computed, as a share of retraining."""
        of_patches = (run['patch'] / self.patch)**2  # a pass costs as many times as a patch has pixels
        return arithmetic(run['passes']) * of_patches / retraining_arithmetic(self.retraining)

    def budget(self, share: float) -> float | None:
        """The smallest budget that a share stays within, in percent; None above all."""
        return next((budget for budget in self.budgets if 100 * share <= budget), None)


@dataclass(frozen=True)
class Reference:
    """What forgetting is held against on one test set: the range of a score in dB over so many retrained `networks`, or
    the identity baseline as a point for 0, and within what distance of their mean one more would lie (80 %), None where
    fewer than two cannot tell.
    """
    low: float
    high: float
    networks: int
    one_more: float | None


def mean_psnr(record: Mapping, test_set: str, kind: str = 'scores') -> float:
    """Mean over the images of a test set, in dB; `kind` identity for the untouched input."""
    return mean(record[kind][test_set].values())


def trails_of(record: Mapping) -> Trails:
    """What attackers of a network reached."""
    return [Trail.from_record(trail) for trail in record['trails']]


def reference_of(test_set: str, original: Mapping, retrained: Sequence[Mapping]) -> Reference:
    """The range of the retrained networks, or the identity baseline as a point where there is none."""
    if not retrained:
        identity = mean_psnr(original, test_set, 'identity')
        return Reference(identity, identity, 0, None)
    values = [mean_psnr(record, test_set) for record in retrained]
    found = one_more(values)
    return Reference(min(values), max(values), len(values), None if found.high is None else found.high - found.value)


def unjudged(target: str, original: Mapping, retrained: Sequence[Mapping] = (), yardstick: Yardstick = PSNR
             ) -> str | None:
    """Why forgetting a target cannot be judged, as a clause; None if it can."""
    scores = {'original': mean_psnr(original, target), 'identity': mean_psnr(original, target, 'identity'),
              **{f'retrained {index}': mean_psnr(record, target) for index, record in enumerate(retrained, start=1)}}
    return nothing_to_forget(target, scores, yardstick) or disagreement(target, scores, yardstick)


def no_references(target: str, original: Mapping, retrained: Sequence[Mapping], yardstick: Yardstick = PSNR
                  ) -> list[int]:
    """Which of the retrained networks restore the target about as well as the original."""
    return [index for index, record in enumerate(retrained)
            if not is_reference(mean_psnr(record, target), mean_psnr(original, target), yardstick)]


def judge_record(record: Mapping, contest: Contest, original: Mapping, retrained: Sequence[Mapping],
                 attacked: Sequence[Trails]) -> dict:
    """The numbers of one network, all in dB: forget_psnr, gaps by test set, retain_loss by task, leads by budget.

    `retrained` are what its scores are held against, `attacked` their trails; without one there are no leads.
    """
    strengths = (contest.target, *contest.strengths)
    gaps = {}
    for name in strengths:
        reference = reference_of(name, original, retrained)
        gaps[name] = gap_to(mean_psnr(record, name), (reference.low, reference.high), contest.yardstick)
    losses = {task: retain_loss({'original': mean_psnr(original, task), 'unlearned': mean_psnr(record, task)})
              for task in original['scores'] if task not in strengths}
    leads = leads_of(trails_of(record), attacked, contest.yardstick) if attacked else []
    return {'forget_psnr': mean_psnr(record, contest.target), 'gaps': gaps, 'retain_loss': losses,
            'leads': {(lead.pairs, lead.step): lead for lead in leads}}


def target_board(contest: Contest, original: Mapping, retrained: Sequence[Mapping], cells: Sequence[Mapping]) -> dict:
    """The leaderboard of one forget target.

    Args:
        contest: what is compared on what.
        original, retrained, cells: records as `cell.run_job` writes them; a cell with `error` has failed, and one that
            was attacked by a plan of its own has in `against` the records of the retrained networks under that plan.

    Returns:
        `judged`, false where the original has nothing to forget or the retrained networks disagree, with the `reason`
        as a sentence and no rows; `notes`, sentences on networks that are no reference and left out, and on methods
        that cost more than they are meant to, or were attacked otherwise; `left_out`, sentences on attackers that could
        not be tried; `references` by test set; `rows`, the original, the retrained networks, each held against the
        others, as one row, then the methods, budget by budget, in each by score, numbers as (mean, spread); `failures`,
        one sentence each. The spread is the standard deviation over seeds, None of one.
        `gap` is that at the strength `worst_at`, `lead` and `beyond` those within the number of pairs and steps
        `within` at which the mean lies furthest beyond the retrained networks; without one they are None, and no part
        of the score. `front` says that no method is cheaper and better.
    """
    target, yardstick = contest.target, contest.yardstick
    about = {'target': target, 'identity': {task: mean_psnr(original, task, 'identity') for task in original['scores']},
             'original': {task: mean_psnr(original, task) for task in original['scores']},
             'strengths': [target, *contest.strengths], 'images': len(original['scores'][target]),
             'left_out': original['left_out']}
    wrong = no_references(target, original, retrained, yardstick)
    reason = unjudged(target, original, [one for index, one in enumerate(retrained) if index not in wrong], yardstick)
    if reason:
        return {**about, 'judged': False, 'reason': f'Cannot be judged: {reason}.', 'references': {}, 'rows': [],
                'notes': [], 'failures': []}
    notes = _no_reference_note(target, original, [(index, retrained[index]) for index in wrong])

    def kept(records: Sequence[Mapping]) -> list[Mapping]:
        return [record for index, record in enumerate(records) if index not in wrong]

    retrained, all_retrained = kept(retrained), retrained
    trails = [trails_of(record) for record in retrained]
    rows = [_row('original', 'original', [judge_record(original, contest, original, retrained, trails)])]
    if retrained:
        judged = []
        for index, record in enumerate(retrained):
            others = [other for other in range(len(retrained)) if other != index] or [index]
            judged.append(judge_record(record, contest, original, [retrained[other] for other in others],
                                       [trails[other] for other in others]))
        rows.append(_row('retrained', f'retrained without {target}', judged))
    methods, done = [], [cell for cell in cells if 'error' not in cell]
    for name in dict.fromkeys(cell['name'] for cell in done):
        own = [cell for cell in done if cell['name'] == name]
        judged = [judge_record(cell, contest, original, retrained, [
            trails_of(record) for record in kept(cell.get('against', all_retrained))]) for cell in own]
        runs, share = [cell['run'] for cell in own], mean(contest.share(cell['run']) for cell in own)
        methods.append({**_row('method', name, judged), 'seeds': [cell['seed'] for cell in own], 'share': share,
                        'budget': contest.budget(share), 'plan': own[0].get('plan', ''),
                        **{key: mean(run[key] for run in runs) for key in ('steps', 'seconds', 'memory_mb')}})
        if own[0].get('plan'):
            notes.append(f'{name} was attacked as its own block says, and so were the retrained networks that it is '
                         'held against: its lead is not to be compared with those of other rows.')
        meant = own[0].get('budget')
        if meant is not None and 100 * share > meant:
            notes.append(f"{name} takes {100 * share:.3g} % of retraining's arithmetic, more than the {meant:g} % that "
                         'it is meant to stay within.')
    for one in methods:
        one['front'] = not any(_beats(other, one) for other in methods)
    last = len(contest.budgets)
    methods.sort(key=lambda one: (contest.budgets.index(one['budget']) if one['budget'] is not None else last,
                                  one['score'][0], one['name']))
    failures = [f'{cell["name"]}, seed {cell["seed"]}: {cell["error"]}' for cell in cells if 'error' in cell]
    references = {name: asdict(reference_of(name, original, retrained)) for name in about['strengths']}
    return {**about, 'judged': True, 'reason': None, 'notes': notes, 'references': references, 'rows': rows + methods,
            'failures': failures}


def _row(kind: str, name: str, judged: Sequence[Mapping]) -> dict:
    """One row, of the numbers of its networks."""
    gaps = {test: [values['gaps'][test] for values in judged] for test in judged[0]['gaps']}
    worst_at = max(gaps, key=lambda test: mean(map(abs, gaps[test])))
    losses = {task: [values['retain_loss'][task] for values in judged] for task in judged[0]['retain_loss']}
    leads = _furthest([values['leads'] for values in judged])
    worst = worst_lead(leads) if leads else None
    ahead = [max(0.0, lead.beyond) for lead in leads] or [0.0] * len(judged)
    scores = [abs(gap) + mean(max(loss, 0.0) for loss in values['retain_loss'].values()) + beyond
              for gap, values, beyond in zip(gaps[worst_at], judged, ahead)]
    return {'kind': kind, 'name': name, 'networks': len(judged),
            'forget_psnr': _spread([values['forget_psnr'] for values in judged]),
            'gaps': {test: _spread(values) for test, values in gaps.items()}, 'gap': _spread(gaps[worst_at]),
            'worst_at': worst_at, 'retain_loss': {task: _spread(values) for task, values in losses.items()},
            'lead': _spread([lead.value for lead in leads]) if leads else (None, None),
            'beyond': _spread([lead.beyond for lead in leads]) if leads else (None, None),
            'attacker': worst and worst.attacker, 'within': worst and {'pairs': worst.pairs, 'steps': worst.step},
            'leads': [asdict(lead) for lead in leads], 'score': _spread(scores), 'scores': scores}


def _furthest(leads: Sequence[Mapping[tuple[int, int], Lead]]) -> list[Lead]:
    """Of each network its lead within that budget at which their mean lies furthest beyond the retrained networks."""
    common = [budget for budget in leads[0] if all(budget in one for one in leads)]
    if not common:
        return []
    budget = max(common, key=lambda budget: mean(one[budget].beyond for one in leads))
    return [one[budget] for one in leads]


def _beats(one: Mapping, other: Mapping) -> bool:
    """Whether a method is as cheap and as good as another, and better at one of them."""
    ahead = [(one['share'], other['share']), (one['score'][0], other['score'][0])]
    return all(own <= theirs for own, theirs in ahead) and any(own < theirs for own, theirs in ahead)


def _no_reference_note(target: str, original: Mapping, wrong: Sequence[tuple[int, Mapping]]) -> list[str]:
    if not wrong:
        return []
    names = [record.get('checkpoint') or f'retrained network {index + 1}' for index, record in wrong]
    left_out = [f'{name} ({mean_psnr(record, target):.2f} dB)' for name, (_, record) in zip(names, wrong)]
    return [f'No reference, and left out: {enumerated(left_out)}. The original has '
            f'{mean_psnr(original, target):.2f} dB on {target}, so what is not clearly worse cannot have been trained '
            'without it.']


def _spread(values: Sequence[float]) -> Number:
    return mean(values), stdev(values) if len(values) > 1 else None


def overview(boards: Mapping[str, Mapping]) -> list[dict]:
    """The methods that every target's leaderboard has, by their mean score over the targets.

    Returns:
        `name`; `seeds`, those that all targets have; `share` of retraining's arithmetic, the largest; `score`, mean and
        spread over the seeds; `targets`: target -> worst gap, the largest loss on another task and the lead beyond the
        retrained networks (None without one), means over the seeds in dB.
    """
    boards = {target: board for target, board in boards.items() if board['judged']}
    by_target = [{row['name']: row for row in board['rows'] if row['kind'] == 'method'} for board in boards.values()]
    found = []
    for name in by_target[0]:
        rows = [rows[name] for rows in by_target if name in rows]
        seeds = [seed for seed in rows[0]['seeds'] if all(seed in row['seeds'] for row in rows)]
        if len(rows) == len(boards) and seeds:
            scores = [mean(row['scores'][row['seeds'].index(seed)] for row in rows) for seed in seeds]
            found.append({'name': name, 'seeds': seeds, 'share': max(row['share'] for row in rows),
                          'score': _spread(scores), 'targets': {
                target: (row['gap'][0], max(loss for loss, _ in row['retain_loss'].values()), row['beyond'][0])
                for target, row in zip(boards, rows)}})
    return sorted(found, key=lambda entry: (entry['score'][0], entry['name']))
