"""Records of a benchmark -> a leaderboard per forget target, all against the networks retrained without it."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from basicsr_unlearn.core.judgement import gap_to, is_reference, leads, nothing_to_forget, relearn_gap, retain_loss
from basicsr_unlearn.core.yardstick import PSNR, Yardstick
from basicsr_unlearn.proof.words import enumerated


@dataclass(frozen=True)
class Reference:
    """What forgetting is held against: the range of a score in dB and, of retrained networks, the best curve.

    `relearn` has, by seed and step, the PSNR of the retrained network that is best at that step in the mean over seeds;
    None without a retrained network.
    """
    low: float
    high: float
    networks: int
    relearn: dict[str, dict[str, float]] | None


def mean_psnr(record: Mapping, test_set: str, kind: str = 'scores') -> float:
    """Mean over the images of a test set, in dB; `kind` identity for the untouched input."""
    return mean(record[kind][test_set].values())


def reference_of(target: str, original: Mapping, retrained: Sequence[Mapping]) -> Reference:
    """The range of the retrained networks, or the identity baseline as a point where there is none."""
    if not retrained:
        identity = mean_psnr(original, target, 'identity')
        return Reference(identity, identity, 0, None)
    values = [mean_psnr(record, target) for record in retrained]
    curves = [record['relearn'] for record in retrained]
    best = {step: max(curves, key=lambda curve: mean(by_step[step] for by_step in curve.values()))
            for step in next(iter(curves[0].values()))}
    return Reference(min(values), max(values), len(values),
                     {seed: {step: curve[seed][step] for step, curve in best.items()} for seed in curves[0]})


def unjudged(target: str, original: Mapping, yardstick: Yardstick = PSNR) -> str | None:
    """Why forgetting a target cannot be judged, as a clause; None if it can."""
    scores = {'original': mean_psnr(original, target), 'identity': mean_psnr(original, target, 'identity')}
    return nothing_to_forget(target, scores, yardstick)


def no_references(target: str, original: Mapping, retrained: Sequence[Mapping], yardstick: Yardstick = PSNR
                  ) -> list[int]:
    """Which of the retrained networks restore the target about as well as the original."""
    return [index for index, record in enumerate(retrained)
            if not is_reference(mean_psnr(record, target), mean_psnr(original, target), yardstick)]


def judge_record(record: Mapping, target: str, original: Mapping, reference: Reference) -> dict:
    """The numbers of one network, all in dB: forget_psnr, forget_gap, retain_loss by task, lead.

    lead is, by step of relearning, that over the best retrained network under equal seeds; empty without one.
    """
    psnr, curves = mean_psnr(record, target), record['relearn']
    losses = {task: retain_loss({'original': mean_psnr(original, task), 'unlearned': mean_psnr(record, task)})
              for task in original['scores'] if task != target}
    lead = {}
    if reference.relearn is not None:
        by_seed = [leads(curve, reference.relearn[seed]) for seed, curve in curves.items()]
        lead = {step: mean(one[step] for one in by_seed) for step in by_seed[0]}
    return {'forget_psnr': psnr, 'forget_gap': gap_to(psnr, (reference.low, reference.high)), 'retain_loss': losses,
            'lead': lead}


def target_board(target: str, original: Mapping, retrained: Sequence[Mapping], cells: Sequence[Mapping],
                 retraining_samples: int, yardstick: Yardstick = PSNR) -> dict:
    """The leaderboard of one forget target.

    Args:
        target: name of its test set.
        original, retrained, cells: records as `benchmark_cell.run_job` writes them; a cell with `error` has failed.
        retraining_samples: how many patches a retrained network is trained on, for the share of retraining.
        yardstick: PSNR with the margin by which an original has a skill, and a retrained network lacks it.

    Returns:
        `judged`, false where the original has nothing to forget, with the `reason` as a sentence and no rows; `notes`,
        a sentence on networks that are no reference and left out; `reference`; `rows`, the original, the retrained
        networks as one row, then the methods by score, numbers as (mean, spread); `failures`, one sentence each. The
        spread is the standard deviation over seeds, None of one.
        `relearn_gap` is the largest mean lead, 0 if there is none; without a retrained network it is None, and no part
        of the score.
    """
    about = {'target': target, 'identity': {task: mean_psnr(original, task, 'identity') for task in original['scores']},
             'original': {task: mean_psnr(original, task) for task in original['scores']},
             'images': len(original['scores'][target])}
    reason = unjudged(target, original, yardstick)
    if reason:
        return {**about, 'judged': False, 'reason': f'Cannot be judged: {reason}.', 'reference': None, 'rows': [],
                'notes': [], 'failures': []}
    wrong = no_references(target, original, retrained, yardstick)
    notes = _no_reference_note(target, original, [(index, retrained[index]) for index in wrong])
    retrained = [record for index, record in enumerate(retrained) if index not in wrong]
    reference = reference_of(target, original, retrained)

    def row(kind: str, name: str, records: Sequence[Mapping]) -> dict:
        judged = [judge_record(record, target, original, reference) for record in records]

        def over_seeds(key: str) -> dict:
            return {part: _spread([values[key][part] for values in judged]) for part in judged[0][key]}

        lead = over_seeds('lead')
        means = {int(step): value for step, (value, _) in lead.items()}
        # of all seeds at the step where their mean is furthest ahead, if it is anywhere
        largest = max(means, key=means.get) if means and relearn_gap(means) > 0 else None
        score = [abs(values['forget_gap']) + mean(max(loss, 0.0) for loss in values['retain_loss'].values())
                 + (0.0 if largest is None else values['lead'][str(largest)]) for values in judged]
        return {'kind': kind, 'name': name, 'networks': len(records),
                'forget_psnr': _spread([values['forget_psnr'] for values in judged]),
                'forget_gap': _spread([values['forget_gap'] for values in judged]),
                'retain_loss': over_seeds('retain_loss'), 'lead': lead,
                'relearn_gap': ((None, None) if not means else (0.0, None) if largest is None else lead[str(largest)]),
                'score': _spread(score), 'scores': score}

    rows = [row('original', 'original', [original])]
    if retrained:
        rows.append(row('retrained', f'retrained without {target}', retrained))
    methods = []
    done = [cell for cell in cells if 'error' not in cell]
    for name in dict.fromkeys(cell['name'] for cell in done):
        own = [cell for cell in done if cell['name'] == name]
        runs = [cell['run'] for cell in own]
        share = mean(run['steps'] * run['batch'] for run in runs) / retraining_samples
        methods.append({**row('method', name, own), 'seeds': [cell['seed'] for cell in own], 'share': share,
                        **{key: mean(run[key] for run in runs) for key in ('steps', 'seconds', 'memory_mb')}})
    methods.sort(key=lambda entry: (entry['score'][0], entry['name']))
    failures = [f'{cell["name"]}, seed {cell["seed"]}: {cell["error"]}' for cell in cells if 'error' in cell]
    return {**about, 'judged': True, 'reason': None, 'notes': notes,
            'reference': {'low': reference.low, 'high': reference.high, 'networks': reference.networks,
                          'relearn': reference.relearn}, 'rows': rows + methods, 'failures': failures}


def _no_reference_note(target: str, original: Mapping, wrong: Sequence[tuple[int, Mapping]]) -> list[str]:
    if not wrong:
        return []
    names = [record.get('checkpoint') or f'retrained network {index + 1}' for index, record in wrong]
    left_out = [f'{name} ({mean_psnr(record, target):.2f} dB)' for name, (_, record) in zip(names, wrong)]
    return [f'No reference, and left out: {enumerated(left_out)}. The original has '
            f'{mean_psnr(original, target):.2f} dB on {target}, so what is not clearly worse cannot have been trained '
            'without it.']


def _spread(values: Sequence[float]) -> tuple[float, float | None]:
    return mean(values), stdev(values) if len(values) > 1 else None


def overview(boards: Mapping[str, Mapping]) -> list[dict]:
    """The methods that every target's leaderboard has, by their mean score over the targets.

    Returns:
        `name`; `seeds`, those that all targets have; `score`, mean and spread over these; `targets`: target -> forget
        gap, the largest loss on another task and relearn gap (None without a retrained network), means over the seeds
        in dB.
    """
    boards = {target: board for target, board in boards.items() if board['judged']}
    by_target = [{row['name']: row for row in board['rows'] if row['kind'] == 'method'} for board in boards.values()]
    found = []
    for name in by_target[0]:
        rows = [rows[name] for rows in by_target if name in rows]
        seeds = [seed for seed in rows[0]['seeds'] if all(seed in row['seeds'] for row in rows)]
        if len(rows) == len(boards) and seeds:
            scores = [mean(row['scores'][row['seeds'].index(seed)] for row in rows) for seed in seeds]
            found.append({'name': name, 'seeds': seeds, 'score': _spread(scores), 'targets': {
                target: (row['forget_gap'][0], max(loss for loss, _ in row['retain_loss'].values()),
                         row['relearn_gap'][0]) for target, row in zip(boards, rows)}})
    return sorted(found, key=lambda entry: (entry['score'][0], entry['name']))
