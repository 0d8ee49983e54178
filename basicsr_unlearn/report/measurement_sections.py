"""What each measurement of an audit found, as a section of its page and of audit.md."""
from collections.abc import Callable, Mapping

from basicsr_unlearn.options.option_text import option_text
from basicsr_unlearn.proof.words import enumerated
from basicsr_unlearn.report.attack_blocks import attack_blocks
from basicsr_unlearn.report.audit_values import columns_of, digits_of, in_unit, metric_of, retrained_of
from basicsr_unlearn.report.findings import Block, Code, PageSection
from basicsr_unlearn.report.tables import ABSENT, Table, number, percent, ranged, thousands

MOVED_LAYERS = 8
YES_NO = {True: 'yes', False: 'no', None: ABSENT}


def measured_section(name: str, result: Mapping, audit: Mapping) -> PageSection | None:
    """What a measurement found; None for one that is not known here."""
    return PageSection(heading(name), BY_MEASUREMENT[name](result, audit), name) if name in BY_MEASUREMENT else None


def heading(name: str) -> str:
    """The heading of a measurement."""
    return name.replace('_', ' ').capitalize()


def unmeasured(audit: Mapping) -> list[PageSection]:
    """What was skipped, with the reasons; empty if nothing was."""
    skipped = [f'{name}: {entry["reason"]}' for name, entry in audit['measurements'].items()
               if entry['state'] == 'skipped']
    skipped += [f'data set {name}: {entry["problem"]}' for name, entry in audit['datasets'].items()
                if entry.get('problem')]
    return [PageSection('Not measured', [skipped])] if skipped else []


def method_sections(audit: Mapping) -> list[PageSection]:
    """By what, on what and with which options an audit was made."""
    versions = ', '.join(f'{name} {version}' for name, version in audit['versions'].items())
    return [PageSection('How it was measured', [
        f'Computed with {versions}, by the option file {audit["option_file"]}. Intervals are 95 % bootstrap intervals '
        'over the photographs. The hash of a data set is of the decoded pixels of all pairs, in order.',
        *networks_and_sets(audit)]), PageSection('The option file', [Code(audit['option_text'])]),
        PageSection('The options as used', [Code(option_text(audit['options']))])]


def networks_and_sets(audit: Mapping) -> list[Table]:
    """Tables of the networks, the data sets and the time that each measurement took."""
    networks = [[column, network['path'], network['sha256'], thousands(network['parameters'])]
                for column, network in audit['networks'].items()]
    sets = [[name, entry['role'], entry['type'], entry['sha256'] or ABSENT, thousands(entry['images']),
             thousands(entry['photographs'])] for name, entry in audit['datasets'].items()]
    times = [[name, entry['state'], number(entry['seconds'], 1)] for name, entry in audit['measurements'].items()]
    return [Table(['network', 'path', 'sha256', 'parameters'], networks, 3, 'Networks'),
            Table(['data set', 'role', 'type', 'sha256', 'images', 'photographs'], sets, 4, 'Data sets'),
            Table(['measurement', 'state', 'seconds'], times, 2, 'Time')]


def _scores(result: Mapping, audit: Mapping) -> list[Block]:
    means = result['mean']
    counts = ', '.join(f'{name} {len(images)}' for name, images in result['images'].items())
    head, tables = [_with_role(name, audit) for name in means], []
    for metric, about in result['metrics'].items():
        digits = 2 if about['unit'] == 'dB' else 4
        rows = [[column, *(ranged(means[name].get(column, {}).get(metric), digits) for name in means)]
                for column in columns_of(list(means.values()))]
        unit = f' in {about["unit"]}' if about['unit'] else ''
        tables.append(Table(['network', *head], rows, title=f'{metric}{unit}, {about["better"]} is better'))
    return [f'Means over the images ({counts}), in brackets the 95 % bootstrap interval over the photographs.', *tables]


def _forgetting(result: Mapping, audit: Mapping) -> list[Block]:
    rows, tests, distances, digits = [], [], [], digits_of(audit)
    for name, found in result.items():
        reference = found['reference'] or dict.fromkeys(('low', 'high', 'mean', 'deviation'))
        more = found['one_more'] or {'low': None}
        rows.append([_with_role(name, audit), ranged(found['gap'], digits, sign=True),
                     ', '.join(found['against']) or ABSENT,
                     *(number(reference[key], digits) for key in ('low', 'high', 'mean', 'deviation')),
                     ABSENT if more['low'] is None else ' to '.join(number(more[end], digits)
                                                                    for end in ('low', 'high')),
                     YES_NO[found['over_forgotten'] if found['judged'] else None]])
        tests += [[name, column, number(test['statistic']), number(test['p'], 3)]
                  for column, test in found['ks'].items()]
        distances += [[name, column, *(number(by.get(other)) for other in retrained_of(audit))]
                      for column, by in found['distance'].items() if by]
    blocks = [f'How far the mean {metric_of(audit)["name"]} of the unlearned network lies outside the range of what it '
              f'is held against{in_unit(audit)}: 0 inside, above 0 something is left, below 0 it is forgotten further '
              'than that.',
              Table(['data set', 'forget gap', 'against', 'lowest', 'highest', 'mean', 'deviation',
                     'one more, in 8 of 10 cases', 'over-forgotten'], rows)]
    alike = [name for name, found in result.items() if found['likeness']]
    if alike:
        blocks.append(f'The original has no skill on {enumerated(alike)}: there the gap is to both sides, how unlike '
                      'the retrained networks it is.')
    unjudged = [f'{name}: {found["reason"]}' for name, found in result.items() if not found['judged']]
    if unjudged:
        blocks.append(unjudged)
    if tests:
        blocks += ['Kolmogorov-Smirnov test of whether scores by photograph can come from one distribution: the '
                   'unlearned network against each retrained one. A small p tells the two apart.',
                   Table(['data set', 'against', 'statistic', 'p'], tests, 2)]
    if distances:
        head = ['data set', 'network', *(f'to {column}' for column in retrained_of(audit))]
        blocks += ['Mean absolute difference of the outputs in 8-bit levels.', Table(head, distances, 2)]
    return blocks


def _keeping(result: Mapping, audit: Mapping) -> list[Block]:
    rows = [[name, ranged(found['loss'], digits_of(audit), sign=True), percent(found['kept']),
             YES_NO[found['collapsed']]] for name, found in result.items()]
    return [f'What the unlearned network lost of the original\'s {metric_of(audit)["name"]}{in_unit(audit)}, and how '
            'much is left of what the original gains over the untouched input.',
            Table(['data set', 'retain loss', 'gain kept', 'collapsed'], rows)]


def _membership(result: Mapping, audit: Mapping) -> list[Block]:
    attacks = {name: found for name, found in result['attacks'].items() if found['state'] == 'measured'}
    rates = columns_of([by for found in attacks.values() for by in found['tpr'].values()])
    rows = []
    for name, found in attacks.items():
        for column, auc in found['auc'].items():
            shares = found['tpr'].get(column, {})
            rows.append([name, column, ranged(auc), *(percent(shares.get(rate)) for rate in rates),
                         ranged(found['difference'].get(column), sign=True)])
    head = ['attack', 'network', 'AUC', *(f'TPR at {100 * float(rate):g} % FPR' for rate in rates),
            'AUC of unlearned less this']
    return [f'Can images of {result["members"]}, which the original was trained on, be told from those of '
            f'{result["unseen"]}, which no network has seen? AUC 0.50 is chance.',
            *([Table(head, rows, 2)] if rows else []),
            [f'{name}: {found["reading"]}. {found["text"]}' if name in attacks else
             f'{name}: skipped. {found["reason"]}' for name, found in result['attacks'].items()]]


def _representation(result: Mapping, audit: Mapping) -> list[Block]:
    head = ['layer', *(f'CKA {pair}' for pair in result['cka']), *(f'gain of {column}' for column in result['gain'])]
    rows = [[layer, *(number(by.get(layer)) for by in result['cka'].values()),
             *(number(by.get(layer), sign=True) for by in result['gain'].values())] for layer in result['layers']]
    return [f'On {result["images"]} images of {result["dataset"]}: how alike the features of two networks are (CKA, 1 '
            'is equal), and the gain in dB when the mean features of the original are added back in one layer; a high '
            'one says that what follows that layer still restores.', Table(head, rows)]


def _robustness(result: Mapping, audit: Mapping) -> list[Block]:
    rows = [[name, column, *(ranged(found['columns'][column][key]) for key in ('clean', 'attacked', 'fall'))]
            for name, found in result.items() for column in found['columns']]
    attacks = '; '.join(f'{name}: {_words(found["attack"])}, {found["images"]} images'
                        for name, found in result.items())
    return [f'PSNR in dB when the input is moved to raise the error of the network ({attacks}).',
            Table(['data set', 'network', 'clean', 'attacked', 'fall'], rows, 2)]


def _words(attack: Mapping | str) -> str:
    return attack if isinstance(attack, str) else ', '.join(f'{key} {value}' for key, value in attack.items())


def _weights(result: Mapping, audit: Mapping) -> list[Block]:
    head = ['weights', 'changed', 'distance', 'relative']
    blocks = ['Against the original: how many weights have another value, and the L2 norm of the difference, as it is '
              'and relative to the norm before.',
              Table(['network', *head], [[column, *_moved(found)] for column, found in result.items()])]
    layers = list(result.get('unlearned', {}).get('layers', {}).items())[:MOVED_LAYERS]
    if layers:
        blocks += ['The layers of the unlearned network that moved most:',
                   Table(['layer', *head], [[name, *_moved(found)] for name, found in layers])]
    return blocks


def _moved(found: Mapping) -> list[str]:
    return [thousands(found['weights']), percent(found['changed']), number(found['distance'], 3),
            percent(found['relative'])]


def _cost(result: Mapping, audit: Mapping) -> list[Block]:
    retraining, share = result['retraining'] or {}, result['share'] or {}
    rows = [[label, thousands(result[key]), thousands(retraining.get(key)), percent(share.get(key))]
            for label, key in (('steps', 'steps'), ('patches seen', 'samples'))]
    rows += [[f'{kind.replace("_", " ")} passes, samples', thousands(passes), ABSENT, ABSENT]
             for kind, passes in (result.get('passes') or {}).items()]
    rows.append(['seconds', number(result['seconds'], 0), ABSENT, ABSENT])
    rows.append(['peak memory, MB', number(result['memory_mb'], 0), ABSENT, ABSENT])
    return [*([f'As {result["log"]} says.'] if result['log'] else []),
            Table(['', 'unlearning', 'retraining', 'share'], rows)]


def _with_role(name: str, audit: Mapping) -> str:
    return f'{name} ({audit["datasets"][name]["role"]})'


BY_MEASUREMENT: dict[str, Callable[[Mapping, Mapping], list[Block]]] = {
    'scores': _scores, 'forgetting': _forgetting, 'keeping': _keeping, 'membership': _membership,
    'attacks': attack_blocks, 'representation': _representation, 'robustness': _robustness, 'weights': _weights,
    'cost': _cost,
}
