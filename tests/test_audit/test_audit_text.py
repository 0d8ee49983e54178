"""audit.md and the summary for the terminal, from an audit written by hand."""
import pytest
import yaml
from audit_example import LAYERS, example_audit

from basicsr_unlearn.report.audit_checks import allowed
from basicsr_unlearn.report.audit_text import audit_markdown, audit_summary


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one."""
    lines = text.splitlines()
    start = lines.index(heading) + 1
    return '\n'.join(lines[start:next((i for i in range(start, len(lines)) if lines[i].startswith('#')), len(lines))])


def table(text: str) -> list[list[str]]:
    """The cells of the first table in a text, without the line below its head."""
    rows = [line for line in text.splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in row.strip('|').split(' | ')] for i, row in enumerate(rows) if i != 1]


def check(value: float | None, low: float | None, high: float | None, state: str = 'failed', name: str = 'lead',
          subject: str = 'step 1', words: str = 'why') -> dict:
    return {'name': name, 'subject': subject, 'value': value, 'unit': 'dB', 'low': low, 'high': high, 'state': state,
            'words': words}


def judged(*checks: dict, state: str = 'failed', retrained: int = 1) -> dict:
    audit = example_audit(retrained)
    audit['verdict']['levels'] = {'outputs': {'state': 'passed', 'checks': []},
                                  'members': {'state': state, 'checks': list(checks)}}
    return audit


def level_line(audit: dict) -> str:
    """The level members in the summary with what is below it, spaces put together."""
    text = audit_summary(audit)
    return ' '.join(text[text.index('level members'):].split())


def test_verdict_comes_first_with_its_checks():
    audit = example_audit()
    verdict = audit['verdict']
    text = audit_markdown(audit)
    assert text.split('\n\n')[:3] == [f'# {verdict["headline"]}', verdict['sentence'],
                                      'Outcome: **members**. Required: members, **passed**.']
    verdict['levels']['weights']['checks'] = [
        check(4.3, None, 0.5, subject='step 5'),
        check(None, None, None, 'not measured', 'lead', 'prompts', 'no such')]
    weights = section(audit_markdown(audit), '## Level weights: failed')
    assert table(weights) == [['check', 'of', 'state', 'value', 'allowed'],
                           ['lead', 'step 5', 'failed', '+4.30 dB', 'at most 0.50 dB'],
                           ['lead', 'prompts', 'not measured', '-', '-']]
    assert '- lead, prompts: not measured, no such' in weights and 'step 5:' not in weights
    assert text.index('## Level weights') < text.index('### Scores') < text.index('## How it was measured')


def test_scores_have_a_table_for_each_metric_with_intervals():
    audit = example_audit()
    text = section(audit_markdown(audit), '### Scores')
    psnr = table(text)
    assert psnr[0] == ['network', 'haze (unseen)', 'haze_train (forget)', 'rain (retain)', 'noise (retain)']
    assert [row[0] for row in psnr[1:5]] == ['identity', 'original', 'unlearned', 'retrained']
    found = audit['measurements']['scores']['result']['mean']['haze']['unlearned']['psnr']
    assert psnr[3][1] == f'11.02 ({found["low"]:.2f} to {found["high"]:.2f})'
    assert '**psnr in dB, higher is better**' in text and '**lpips, lower is better**' in text


def test_each_measurement_has_its_numbers():
    text = audit_markdown(example_audit(2))
    assert table(section(text, '### Forgetting'))[1] == [
        'haze (unseen)', '+0.07 (+0.02 to +0.12)', 'retrained 1, retrained 2', '10.95', '11.10', '11.02', '0.11',
        '10.62 to 11.42', 'no']
    assert '| haze_train | retrained 2 |      0.17 | 0.999 |' in section(text, '### Forgetting')  # p has 3 decimals
    assert table(section(text, '### Keeping'))[1] == ['rain', '+0.07 (+0.04 to +0.10)', '98.8 %', 'no']
    membership = section(text, '### Membership')
    assert table(membership)[1] == ['threshold', 'original', '0.76 (0.65 to 0.87)', '-', '8.3 %', '-']
    assert table(membership)[3] == ['threshold', 'retrained 1', '0.51 (0.40 to 0.62)', '-', '8.3 %',
                                    '+0.01 (-0.03 to +0.05)']
    assert '- lira: skipped. LiRA needs shadow networks' in membership
    assert table(section(text, '### Representation'))[1][:2] == ['intro', '-']
    assert table(section(text, '### Robustness'))[1][:2] == ['rain', 'original']
    assert ['steps', '400', '40,000', '1.0 %'] in table(section(text, '### Cost'))


def test_what_the_attackers_reached_stands_in_full():
    text = section(audit_markdown(example_audit(3)), '### Attacks')
    assert 'Worst lead: +4.60 dB over the mean of the retrained networks, +4.50 dB over the best of them.' in text
    assert 'Retrained networks over the mean of the others: -0.15 dB to +0.15 dB.' in text
    assert 'It may be at most 0.50 dB.' in text
    families, within, strengths, best, curves, predictors = (table(part) for part in text.split('**')[2::2])
    assert [(row[0], row[-1]) for row in families[1:]] == [('inverse', '+4.50'), ('plain', '+4.10'),
                                                        ('quantisation', '-0.12')]
    lead = next(row for row in within if row[2:4] == ['8', '5'])
    assert lead == ['kernels transposed', 'inverse', '8', '5', '+4.60 (+4.35 to +4.85)', '+4.50']
    assert ['8', '5', '21.05', '17.30', '12.60', '12.70', '12.80'] in strengths
    assert ['8-bit weights', 'quantisation', '0', '20.90', '11.01', '10.93', '11.03', '11.13'] in best
    assert ['8-bit weights', 'quantisation', '0', '11.01', *'------'] in curves
    assert predictors[1] == ['unlearned', '0.2000', '0.0040']
    assert 'The norms: NAFNet has none that are trained.' in text
    assert 'They undid TransposeKernels as the run had it,' in text
    audit = example_audit(3)
    audit['measurements']['attacks']['result']['method'] = None
    assert 'They undid the parts of all methods, by their defaults.' in audit_markdown(audit)


@pytest.mark.parametrize('retrained, words', [(0, 'over the identity baseline.'), (1, 'over the retrained network.')])
def test_what_a_lead_is_held_against_is_named(retrained, words):
    audit = example_audit(retrained)
    lead, zero = 'There is no retrained network' if not retrained else 'the zero of the lead has no spread', words
    text = section(audit_markdown(audit), '### Attacks')
    assert lead in text and zero in text
    assert words.rstrip('.') in ' '.join(audit_summary(audit).split())


def test_the_worst_of_several_strengths_is_named():
    audit = example_audit(2)
    audit['measurements']['forgetting']['result']['haze_train']['gap'].update(value=-4.0)
    audit['verdict']['worst_gap'].update(dataset='haze_train', value=-4.0)
    assert 'Worst gap of 2: -4.00 dB on haze_train.' in audit_summary(audit)


def test_the_eight_layers_that_moved_most_are_listed():
    audit = example_audit()
    layers = audit['measurements']['weights']['result']['unlearned']['layers']
    layers['least'] = {'weights': 3, 'changed': 0.0, 'distance': 0.0, 'relative': None}
    text = section(audit_markdown(audit), '### Weights')
    assert all(f'| {layer}.0.weight ' in text for layer in LAYERS) and len(LAYERS) == 8
    assert 'least' not in text


def test_an_attack_by_its_options_and_a_data_set_that_could_not_be_used():
    audit = example_audit()
    for found in audit['measurements']['robustness']['result'].values():
        found['attack'] = {'type': 'pgd', 'steps': 10}
    audit['datasets']['hail'] = {'role': 'retain', 'type': 'X', 'images': None, 'photographs': None, 'sha256': None,
                                 'problem': 'The folder hail does not exist.'}
    text = audit_markdown(audit)
    assert 'rain: type pgd, steps 10, 12 images' in section(text, '### Robustness')
    assert '- data set hail: The folder hail does not exist.' in section(text, '### Not measured')
    assert ['hail', 'retain', 'X', '-', '-', '-'] in table(text[text.index('**Data sets**'):])


@pytest.mark.parametrize('retrained', [0, 1, 3])
def test_any_measurement_may_be_skipped_or_absent(retrained):
    for name in example_audit()['measurements']:
        audit = example_audit(retrained)
        audit['measurements'][name] = {'state': 'skipped', 'reason': 'no rain today', 'seconds': 0, 'result': None}
        text = audit_markdown(audit)
        assert f'### {name.capitalize()}' not in text
        assert f'- {name}: no rain today' in section(text, '### Not measured')
        assert f'Not measured: {name}; audit.md says why.' in audit_summary(audit)
        del audit['measurements'][name]
        assert 'no rain today' not in audit_markdown(audit) + audit_summary(audit)


def test_how_it_was_measured_can_be_checked():
    audit = example_audit(2)
    audit['options'] = {'name': 'x', 'networks': {'original': '````'}}
    text = audit_markdown(audit)
    for entry in [*audit['networks'].values(), *audit['datasets'].values()]:
        assert entry['sha256'] in text
    assert f'torch {audit["versions"]["torch"]}' in text and 'on 2025-11-20 at 16:40 UTC in 231 s' in text
    assert yaml.safe_load(text.split('````yaml\n')[1].removesuffix('````\n')) == audit['options']


def test_limits_in_words():
    assert allowed(check(0, -0.2, 0.2)) == '-0.20 to 0.20 dB'
    assert allowed(check(0, None, 0.125)) == 'at most 0.125 dB'  # not rounded to another limit
    assert allowed(check(0, 1, None)) == 'at least 1.00 dB'
    assert allowed(check(None, None, None)) == '-'


def test_a_failed_value_is_never_shown_as_its_own_limit():
    assert 'step 1 +0.204' in level_line(judged(check(0.204, None, 0.2)))
    assert '| passed | +0.20 dB |' in audit_markdown(judged(check(0.196, None, 0.2, 'passed'), state='passed'))


def test_a_check_that_its_interval_passed_says_so():
    words = 'the interval has to touch -0.02 to 0.02'
    passed = check(0.05, -0.02, 0.02, 'passed', 'membership', 'threshold', words)
    assert words in audit_markdown(judged(passed, state='passed'))
    assert words not in audit_markdown(judged({**passed, 'value': 0.01}, state='passed'))


@pytest.mark.parametrize('retrained', [0, 1, 4])
@pytest.mark.parametrize('columns, most', [(80, 42), (100, 36)])
def test_summary_fits_a_terminal(retrained, columns, most, monkeypatch):
    monkeypatch.setenv('COLUMNS', str(columns))
    audit = example_audit(retrained)
    audit['measurements']['scores']['result']['mean'] = {
        f'a_data_set_with_quite_a_long_name_of_its_own_{i}_and_more': by
        for i, by in enumerate([*audit['measurements']['scores']['result']['mean'].values()] * 3)}
    audit['datasets'] = {name: {'role': 'retain'} for name in audit['measurements']['scores']['result']['mean']}
    steps = [check(value, None, 0.5, subject=f'step {step}') for step, value in ((1, .7), (5, .9), (10, .8), (25, .6))]
    audit['verdict']['levels'] = {level: {'state': 'failed', 'checks': [
        *({**one, 'high': high} for one in steps), check(2, None, high, name='lead', subject='a way ' * 30)]}
        for level, high in (('outputs', 0.3), ('members', 0.4), ('weights', 0.5))}
    audit['verdict']['warnings'] = ['Something is to be minded that takes many words to say. ' * 2] * 5
    lines = audit_summary(audit).splitlines()
    assert max(map(len, lines)) <= columns and len(lines) <= most
    assert '  and 6 more in audit.md' in lines and 'Further warnings in audit.md: 3.' in lines
    assert len(audit_summary(example_audit(retrained)).splitlines()) <= 24


def test_summary_has_a_row_for_each_data_set():
    rows = [line.split() for line in audit_summary(example_audit(2)).splitlines()]
    assert ['PSNR', 'in', 'dB', 'identity', 'original', 'unlearned', 'retrained', '(2)'] in rows
    assert ['haze', '(unseen)', '10.90', '20.98', '11.02', '10.95', 'to', '11.10', 'gap', '+0.07'] in rows
    assert ['noise', '(retain)', '19.72', '28.12', '28.10', '28.15', 'to', '28.30', 'loss', '+0.02'] in rows
    assert ['haze', '(unseen)', '10.90', '20.98', '11.02', 'gap', '+0.07'] in [
        line.split() for line in audit_summary(example_audit(0)).splitlines()]


def test_summary_names_the_worst_checks_of_a_failed_level():
    steps = [check(value, None, 0.5, subject=f'step {step}') for step, value in ((1, .7), (5, .9), (10, .8), (25, .6))]
    line = level_line(judged(*steps, check(0.1, None, 0.5, 'passed', 'kept', 'rain')))
    assert line.startswith('level members failed lead has to be at most 0.50 dB: '
                           'step 5 +0.90; step 10 +0.80; and 2 more')
    assert 'rain' not in line


def test_summary_says_whether_the_audit_was_passed():
    audit = example_audit()
    assert 'Passed: level members is required.' in audit_summary(audit).splitlines()
    audit['verdict'].update(passed=False, required='weights')
    assert 'Failed: level weights is required.' in audit_summary(audit).splitlines()
    audit['verdict'].update(required='outputs', outcome='over-forgotten')
    assert ('Failed: level outputs is required and was reached, but the network is over-forgotten.'
            in ' '.join(audit_summary(audit).split()))
