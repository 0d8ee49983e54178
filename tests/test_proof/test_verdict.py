"""The words of a run's verdict say what was measured, and no more."""
from basicsr_unlearn.proof.verdict import LearnedAgain, judge_run

ROLES = {'haze': 'forget', 'rain': 'retain', 'noise': 'retain'}
SCORES = {'haze': {'identity': 11.19, 'original': 20.20, 'unlearned': 11.09, 'retrained': 11.18},
          'rain': {'identity': 19.18, 'original': 28.98, 'unlearned': 28.91, 'retrained': 31.32},
          'noise': {'identity': 20.39, 'original': 29.10, 'unlearned': 29.12, 'retrained': 29.86}}


def headline(*relearning: LearnedAgain, **haze: float) -> str:
    return ' '.join(judge_run(ROLES, {**SCORES, 'haze': {**SCORES['haze'], **haze}}, relearning=relearning).headline)


def test_outputs_are_what_is_claimed():
    assert headline() == ('Its outputs on haze are those of a network that never saw haze. Rain and noise are kept. '
                          'What still sleeps in the weights was not measured.')
    assert judge_run(ROLES, SCORES).forgotten


def test_a_skill_that_sleeps_is_said_in_the_headline():
    assert 'still sleeps in the weights: learned again in 25 steps' in headline(LearnedAgain('haze', 25, 4.75))
    found = headline(LearnedAgain('haze', 25, 0.1))
    assert 'sleeps' not in found and 'knows the method' in found
    assert 'not measured' in headline(LearnedAgain('haze', 25, None))
    assert 'sleeps' not in headline(unlearned=20.0)


def test_without_a_retrained_network_no_comparison_is_claimed():
    scores = {**SCORES, 'haze': {key: value for key, value in SCORES['haze'].items() if key != 'retrained'}}
    found = ' '.join(judge_run(ROLES, scores).headline)
    assert found.startswith('Haze comes out about as it went in.') and 'never saw' not in found


def test_scores_that_rise_and_sets_without_a_skill():
    assert headline(unlearned=21.83).startswith('Haze is not forgotten.')
    found = headline(identity=21.81, original=21.33, unlearned=21.83, retrained=21.0)  # noisy photographs at scale 4
    assert found.startswith('Whether haze is forgotten cannot be judged by PSNR.')


def test_what_was_lost_is_named_worst_first():
    scores = {**SCORES, 'rain': {**SCORES['rain'], 'unlearned': 20.0}, 'noise': {**SCORES['noise'], 'unlearned': 28.8}}
    found = judge_run(ROLES, scores)
    assert found.headline[1:3] == ('Rain is damaged.', 'Noise is slightly worse.')
    assert 'rain loses 8.98 dB' in found.details and found.keeping == {'rain': 'damaged', 'noise': 'slightly worse'}


def test_a_run_without_validation_claims_nothing():
    found = judge_run(ROLES, {'haze': {'unlearned': 11.0}})
    assert found.headline[0].startswith('Nothing was measured') and not found.forgotten
