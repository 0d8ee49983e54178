"""A record as a benchmark writes it, of a network that was attacked."""
from basicsr_unlearn.core.leads import Trail


def sample_record() -> dict:
    """Of two images of each of three test sets, and two attackers."""
    trails = [Trail('plain, Adam 0.001', 'plain', 8, {0: [11.5], 10: [14.25], 25: [15.5]}),
              Trail('plain, turned by 90 degrees', 'orientation', 0, {0: [11.25]})]
    scores = {'haze': {'3096': 11.5, '12084': 11.75}, 'rain': {'3096': 30.5, '12084': 29.25},
              'noise': {'3096': 28.5, '12084': 28.75}}
    return {'key': '0123456789abcdef01234567', 'target': 'haze', 'kind': 'original', 'plan': '',
            'measure': {'test': {name: {'type': 'DegradedImageDataset'} for name in scores}}, 'scores': scores,
            'identity': {name: {image: 9.5 for image in images} for name, images in scores.items()},
            'trails': [trail.record() for trail in trails], 'left_out': ['No network to merge with was given.'],
            'seconds': 61.5}
