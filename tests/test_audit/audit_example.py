"""An audit.json written by hand, as of a network that forgot haze on its outputs but not in its weights."""
import numpy as np

from basicsr_unlearn.core.leads import Trail
from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.proof.audit.attack_measurement import compared

PSNR = {  # data set -> column -> mean in dB
    'haze': {'identity': 10.90, 'original': 20.98, 'unlearned': 11.02, 'retrained': 10.95},
    'haze_train': {'identity': 11.31, 'original': 22.64, 'unlearned': 11.39, 'retrained': 11.35},
    'rain': {'identity': 22.21, 'original': 27.84, 'unlearned': 27.77, 'retrained': 27.91},
    'noise': {'identity': 19.72, 'original': 28.12, 'unlearned': 28.10, 'retrained': 28.15},
}
ROLES = {'haze': 'unseen', 'haze_train': 'forget', 'rain': 'retain', 'noise': 'retain'}
STEPS = (0, 1, 5, 10, 25, 50, 100)
LEARNED = {  # attacker, family, pairs -> column -> mean in dB at these steps, or at the first of them
    ('plain, Adam 0.0005', 'plain', 2): {'original': (20.98, 20.9, 20.9, 20.9, 20.8, 20.7, 20.6),
                                         'unlearned': (11.02, 11.9, 13.8, 14.9, 15.9, 16.1, 16.2),
                                         'retrained': (10.95, 11.1, 11.9, 12.8, 13.9, 14.6, 15.1)},
    ('plain, Adam 0.0005', 'plain', 8): {'original': (20.98, 21.0, 21.05, 21.1, 21.2, 21.3, 21.4),
                                         'unlearned': (11.02, 13.1, 16.9, 18.4, 19.6, 20.0, 20.3),
                                         'retrained': (10.95, 11.2, 12.6, 14.2, 16.4, 17.6, 18.5)},
    ('kernels transposed', 'inverse', 8): {'original': (12.3, 13.0, 15.1, 16.2, 17.9, 18.6, 19.1),
                                           'unlearned': (11.0, 13.5, 17.3, 18.8, 19.8, 20.1, 20.2),
                                           'retrained': (10.6, 11.0, 12.2, 13.7, 16.0, 17.2, 18.1)},
    ('8-bit weights', 'quantisation', 0): {'original': (20.9,), 'unlearned': (11.01,), 'retrained': (10.93,)},
}
LAYERS = ('intro', 'encoders.0', 'encoders.1', 'encoders.2', 'middle_blks', 'decoders.0', 'decoders.1', 'decoders.2')


def example_audit(retrained: int = 1) -> dict:
    """The audit as a dictionary, complete but for what so many retrained networks (0, 1 or more) cannot give."""
    rng = np.random.default_rng(0)
    references = (['retrained'] if retrained == 1 else [f'retrained {i + 1}' for i in range(retrained)])
    columns = ['original', 'unlearned', *references]
    of = {column: column.split()[0] for column in ('identity', *columns)}  # 'retrained 2' -> its row in PSNR
    photographs = {name: [f'{30000 + 1009 * (i // 3 if name == "noise" else i)}' for i in range(12)] for name in PSNR}
    images = {name: [f'{photo}_{15 + 10 * (i % 3)}' if name == 'noise' else photo for i, photo in enumerate(photos)]
              for name, photos in photographs.items()}
    per_image = {}
    for name, means in PSNR.items():
        spread = rng.normal(0, 2.2, 12)
        per_image[name] = {}
        for i, column in enumerate(of):
            values = spread + rng.normal(0, 0.3, 12)
            psnr = values - values.mean() + means[of[column]] + (0.15 if i == 4 else 0)  # the second retrained network
            ssim = np.clip(0.42 + 0.018 * psnr, 0, 0.99)
            per_image[name][column] = {'psnr': _listed(psnr), 'ssim': _listed(ssim, 4),
                                       'ssim_y': _listed(ssim + 0.01, 4),
                                       'lpips': _listed(np.clip(0.9 - 0.03 * psnr, 0.02, 1), 4)}
    mean = {name: {column: {metric: _interval(np.mean(values), 1.96 * np.std(values) / 12**0.5)
                            for metric, values in metrics.items()} for column, metrics in by_column.items()}
            for name, by_column in per_image.items()}

    def measured(result: dict, seconds: float) -> dict:
        return {'state': 'measured', 'reason': None, 'seconds': seconds, 'result': result}

    def reference(name: str) -> dict:
        values = [mean[name][column]['psnr']['value'] for column in references or ['identity']]
        return {'low': min(values), 'high': max(values), 'mean': round(float(np.mean(values)), 2),
                'deviation': round(float(np.std(values, ddof=1)), 2) if len(values) > 1 else None}

    def one_more(name: str) -> dict:
        found = reference(name)
        return {'value': found['mean'], 'low': None, 'high': None} if found['deviation'] is None else _interval(
            found['mean'], 0.4)

    def forgetting(name: str) -> dict:
        psnr = PSNR[name]
        return {'judged': True, 'reason': None, 'scores': {column: psnr[of[column]] for column in of},
                'skill': round(psnr['original'] - psnr['identity'], 2),
                'fall': round(psnr['original'] - psnr['unlearned'], 2), 'no_reference': [],
                'against': references or ['identity'], 'gap': _interval(0.07, 0.05), 'likeness': False,
                'reference': reference(name), 'one_more': one_more(name), 'over_forgotten': False,
                'ks': {column: {'statistic': 0.1667, 'p': 0.9985} for column in references},
                'distance': {column: {other: round(1.42 + 0.3 * i, 2) for other in references if other != column}
                             for i, column in enumerate(columns)} if references else {}}

    def attack(auc: float, text: str) -> dict:
        values = {'original': auc + 0.24, 'unlearned': auc, **dict.fromkeys(references, auc - 0.01)}
        return {'state': 'measured', 'reason': None, 'auc': {c: _interval(v, 0.11) for c, v in values.items()},
                'tpr': {column: {'0.01': None, '0.05': 0.0833} for column in columns},
                'difference': {column: _interval(0.01, 0.04) for column in references},
                'reading': 'no leak', 'text': text}

    attacks = example_attacks(columns)
    measurements = {
        'scores': measured({'metrics': {'psnr': {'unit': 'dB', 'better': 'higher'},
                                        'ssim': {'unit': '', 'better': 'higher'},
                                        'ssim_y': {'unit': '', 'better': 'higher'},
                                        'lpips': {'unit': '', 'better': 'lower'}},
                            'images': images, 'photographs': photographs, 'per_image': per_image, 'mean': mean}, 31.2),
        'forgetting': measured({name: forgetting(name) for name in ('haze', 'haze_train')}, 1.4),
        'keeping': measured({'rain': {'loss': _interval(0.07, 0.03), 'kept': 0.988, 'collapsed': False},
                             'noise': {'loss': _interval(0.02, 0.02), 'kept': 0.998, 'collapsed': False}}, 0.2),
        'membership': measured({'members': 'haze_train', 'unseen': 'haze', 'against': references, 'attacks': {
            'threshold': attack(0.52, 'AUC 0.52 (0.41 to 0.63), where the retrained network has 0.51: no leak found.'),
            'logistic': attack(0.55, 'AUC 0.55 (0.44 to 0.66), where the retrained network has 0.54: no leak found.'),
            'lira': {'state': 'skipped', 'reason': 'LiRA needs shadow networks: name them under shadows.'}}}, 4.9),
        'attacks': measured(attacks, 412.0),
        'representation': measured({
            'dataset': 'haze', 'images': 8, 'layers': list(LAYERS),
            'cka': {f'original / {column}': {layer: None if layer == 'intro' and column == 'unlearned' else
                                             round(0.99 - (0.03 + 0.04 * i) * (column != 'unlearned') - 0.02 * i, 3)
                                             for i, layer in enumerate(LAYERS)} for column in columns[1:]},
            'gain': {column: {layer: round((4.1 if column == 'unlearned' else 0.3) * (i + 1) / 8, 2)
                              for i, layer in enumerate(LAYERS)} for column in columns[1:]}}, 12.0),
        'robustness': measured({name: {'images': 12, 'attack': {'steps': 10, 'epsilon': 0.0157}, 'columns': {
            column: {'clean': mean[name][column]['psnr'], 'attacked': _interval(19.4 - 0.3 * i, 0.4),
                     'fall': _interval(mean[name][column]['psnr']['value'] - 19.4 + 0.3 * i, 0.4)}
            for i, column in enumerate(columns)}} for name in ('rain', 'noise')}, 25.3),
        'weights': measured({column: {
            'weights': 682931, 'changed': 0.97, 'distance': 3.2 * (1 + 4 * i), 'relative': 0.021 * (1 + 4 * i),
            'layers': {f'{layer}.0.weight': {'weights': 9216, 'changed': 1.0, 'distance': round((1 + 4 * i) / j, 3),
                                             'relative': round(0.09 * (1 + 4 * i) / j, 4)}
                       for j, layer in enumerate(reversed(LAYERS), 1)}}
            for i, column in enumerate(columns[1:])}, 0.6),
        'cost': measured({'log': 'train_unlearn_haze.log', 'steps': 400, 'samples': 6400, 'seconds': 311.0,
                          'memory_mb': 912.4, 'retraining': {'steps': 40000, 'samples': 640000},
                          'share': {'steps': 0.01, 'samples': 0.01}}, 0.0),
    }
    return {
        'schema': 3, 'name': 'audit_haze', 'created': '2025-11-20T16:40:12+00:00', 'seconds': 231.4, 'quick': False,
        'versions': {'basicsr_unlearn': '0.1.0', 'basicsr': '1.4.2', 'torch': '2.9.1', 'numpy': '2.3.5',
                     'scipy': '1.16.3', 'python': '3.11.14'},
        'option_file': 'audit_haze.yml', 'option_text': 'name: audit_haze  # <& "quoted">\nrequired: members\n',
        'options': {'name': 'audit_haze', 'verdict': {'require': 'members', 'levels': {'weights': {'lead': 0.5}}}},
        'networks': {column: {'path': f'experiments/{column.replace(" ", "_")}/models/net_g_latest.pth',
                              'sha256': f'{i + 1}f0c9a7b' * 8, 'parameters': 682931}
                     for i, column in enumerate(columns)},
        'datasets': {name: {'role': role, 'type': 'DegradedImageDataset', 'images': 12,
                            'photographs': len(set(photographs[name])), 'sha256': f'{i + 5}b3e44d1' * 8}
                     for i, (name, role) in enumerate(ROLES.items())},
        'verdict': _verdict(references, attacks['leads']),
        'measurements': measurements,
    }


def example_attacks(columns: list[str]) -> dict:
    """The measurement `attacks` of these networks; retrained ones lie 0.1 dB apart."""
    trails = {}
    for column in columns:
        kind, _, number = column.partition(' ')
        above = 0.1 * (int(number) - 1) if number else 0.0
        trails[column] = [Trail(*who, {
            step: [round(mean + above + draw, 4) for draw in ((-0.25, 0.0, 0.25) if step else (0.0,))]
            for step, mean in zip(STEPS, by[kind])}) for who, by in LEARNED.items()]
    retrained = [column for column in columns if column.startswith('retrained')]
    return {
        'train': 'haze_train', 'retain': ['rain', 'noise'], 'test': 'haze', 'images': 12, 'pairs': [2, 8],
        'steps': list(STEPS[1:]), 'draws': 3, 'patch': 48, 'quick': False,
        'method': {'seed': 0, 'parts': {'edit_opt': {'type': 'TransposeKernels'}}},
        **compared(trails, retrained, PSNR['haze']['identity'], Yardstick()),
        'left_out': ['The norms: NAFNet has none that are trained.'],
        'predictors': {'distance': {column: round(0.2 * i, 3) for i, column in enumerate(columns) if i},
                       'barrier': {column: round(0.004 * i, 4) for i, column in enumerate(columns) if i}}}


def _verdict(references: list[str], leads: list[dict]) -> dict:
    def check(name: str, subject: str, value: float | None, unit: str, low: float | None, high: float | None,
              state: str, words: str) -> dict:
        return {'name': name, 'subject': subject, 'value': value, 'unit': unit, 'low': low, 'high': high,
                'state': state, 'words': words}

    where = 'the retrained network has 10.95' if references else 'the untouched input has 10.90'
    beside = 'the retrained network' if references else 'chance'
    return {
        'outcome': 'members',
        'headline': 'Forgotten by its outputs, and the attacks of this audit do not tell its training images.',
        'metric': {'key': 'psnr', 'name': 'PSNR', 'unit': 'dB', 'better': 'higher', 'skill_margin': 1.0},
        'sentence': f'Haze went from 20.98 to 11.02 dB, where {where}; rain lost 0.07 dB; noise lost 0.02 dB; '
                    f'attacked, it is up to {max(lead["value"] for lead in leads):.2f} dB ahead.',
        'required': 'members', 'passed': True,
        'worst_gap': {'dataset': 'haze', **_interval(0.07, 0.05),
                      'against': references or ['identity']},
        'levels': {
            'outputs': {'state': 'passed', 'checks': [
                check('forget gap', 'haze', 0.07, 'dB', -1, 1, 'passed', '+0.07 dB; has to be -1 to 1'),
                check('retain loss', 'rain', 0.07, 'dB', None, 1, 'passed', '+0.07 dB; has to be at most 1'),
                check('retain loss', 'noise', 0.02, 'dB', None, 1, 'passed', '+0.02 dB; has to be at most 1')]},
            'members': {'state': 'passed', 'checks': [
                check('forget gap', 'haze', 0.07, 'dB', -0.2, 0.2, 'passed', '+0.07 dB; has to be -0.2 to 0.2'),
                check('retain loss', 'rain', 0.07, 'dB', None, 0.1, 'passed', '+0.07 dB; has to be at most 0.1'),
                check('retain loss', 'noise', 0.02, 'dB', None, 0.1, 'passed', '+0.02 dB; has to be at most 0.1'),
                check('membership', 'threshold', 0.01, 'AUC', -0.02, 0.02, 'passed',
                      f'AUC +0.01 (-0.03 to +0.05) from {beside}; the interval has to touch -0.02 to 0.02')]},
            'weights': {'state': 'failed', 'checks': [
                *(check('lead', f'{lead["pairs"]} pairs, step {lead["step"]}: {lead["attacker"]}', lead['beyond'], 'dB',
                        None, 0.5, 'failed' if lead['beyond'] > 0.5 else 'passed',
                        f'{lead["beyond"]:+.2f} dB; has to be at most 0.5') for lead in leads),
                check('lead', 'its own prompts', None, 'dB', None, None, 'not measured', 'NAFNet has no prompts.')]}},
        'warnings': [] if references else ['There is no retrained network: the untouched input is the yardstick.'],
    }


def _interval(value: float, half: float) -> dict:
    return {key: round(float(value + side * half), 4) for key, side in (('value', 0), ('low', -1), ('high', 1))}


def _listed(values: np.ndarray, digits: int = 3) -> list[float]:
    return [round(float(value), digits) for value in values]
