"""docs/options.md names every component and key that `train:` can hold."""
from pathlib import Path

import pytest
from basicsr.utils.registry import LOSS_REGISTRY

from basicsr_unlearn.core.parts import ANCHORS, EDITS, MASKS
from basicsr_unlearn.options.sections import UnlearnTrain

TEXT = (Path(__file__).resolve().parents[1] / 'docs' / 'options.md').read_text(encoding='utf-8')
ELSEWHERE = {'ContrastLoss'}  # AirNetModel's


@pytest.mark.parametrize('name', sorted(
    {*ANCHORS, *EDITS, *MASKS} | {name for name, cls in LOSS_REGISTRY
                                  if cls.__module__.startswith('basicsr_unlearn')} - ELSEWHERE))
def test_names_every_component(name):
    assert f'`{name}`' in TEXT


@pytest.mark.parametrize('key', UnlearnTrain.model_fields)
def test_names_every_key_of_train(key):
    assert f'`{key}`' in TEXT or f'\n  {key}:' in TEXT
