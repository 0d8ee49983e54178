"""The JSON schema of option files, and what the checks and it say of the same files."""
import json
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft7Validator

from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.options.json_schema import schema_file, schema_line
from basicsr_unlearn.options.option_file import check_options, load_option_file

OPTIONS = Path(__file__).resolve().parents[1] / 'options'
SHIPPED = sorted(OPTIONS.glob('*.yml'))
SCHEMA = json.loads((OPTIONS / 'schema.json').read_text(encoding='utf-8'))
VALIDATOR = Draft7Validator(SCHEMA)


def plain(options: dict) -> dict:
    return json.loads(json.dumps(options))


def errors(options: dict) -> list[str]:
    return [f'{list(error.absolute_path)}: {error.message}' for error in VALIDATOR.iter_errors(plain(options))]


def test_the_schema_is_one():
    Draft7Validator.check_schema(SCHEMA)


def test_it_is_what_the_options_are_now():
    """In a process of its own, as other tests register components; without those of torch, which versions differ in."""
    shown = subprocess.run([sys.executable, '-m', 'basicsr_unlearn', 'show', '--schema'], capture_output=True,
                           encoding='utf-8', check=True)
    now = json.loads(shown.stdout)
    theirs = ('block of optimizer', 'Adam', 'AdamW', 'SGD', 'Adamax', 'ASGD', 'RMSprop', 'Rprop')
    now, kept = ({**made, '$defs': {name: body for name, body in made['$defs'].items() if not name.startswith(theirs)}}
                 for made in (now, SCHEMA))
    assert now == kept, 'run basicsr-unlearn show --schema > options/schema.json'


@pytest.mark.parametrize('path', SHIPPED, ids=lambda path: path.stem)
def test_shipped_files_name_it_and_fit(path):
    assert path.read_text(encoding='utf-8').splitlines()[0] == schema_line(OPTIONS)
    assert errors(load_option_file(str(path))) == []


def test_it_is_found_from_anywhere(tmp_path):
    assert Path(schema_line(tmp_path).partition('=')[2]) == schema_file() and schema_file().is_file()
    assert schema_line(OPTIONS) == '# yaml-language-server: $schema=schema.json'


# ---------------------------------------------------------------- what is refused

MALFORMED = [
    ({'edit_opt': {'type': 'ResetLastLayers', 'count': 1.5}}, 'train.edit_opt.count is 1.5, not a whole number from 1'),
    ({'edit_opt': {'type': 'TaskNegation', 'iters': 2.5}}, 'train.edit_opt.iters is 2.5, not a whole number from 1'),
    ({'edit_opt': [{'type': 'ResetAll'}, {'type': 'ResetAll', 'fresh': 2}]}, 'train.edit_opt[1].fresh is 2, not a '
     'number above 0 up to 1'),
    ({'retain_opt': {'type': 'AdversarialRetainLoss'}}, 'train.retain_opt.type is AdversarialRetainLoss, a loss for '
     'adversarial_opt: use one of CharbonnierLoss, '),
    ({'retain_opt': {'type': 'FeatureTargetLoss'}}, 'train.retain_opt.type is FeatureTargetLoss, a loss for '
     'forget_opt: use one of CharbonnierLoss, '),
    ({'retain_opt': {'type': 'GANLoss', 'gan_type': 'vanilla'}}, 'train.retain_opt.type is GANLoss, which is no loss '
     'of an output and its target: use one of CharbonnierLoss, '),
    ({'adversarial_opt': {'type': 'L1Loss'}}, 'use one of AdversarialRetainLoss, PerturbedRetainLoss, '
     'RelearningResistanceLoss.'),
    ({'forget_opt': {'type': 'ContrastLoss'}}, 'train.forget_opt.type is ContrastLoss, a loss for contrast_opt: use '
     'one of CharbonnierLoss, '),
    ({'mask_opt': {'type': 'ResetAll'}}, 'train.mask_opt.type is ResetAll, the name of an edit, not of a mask: use '
     'one of FisherMask, '),
    ({'anchor_opt': [{'type': 'SaliencyMask'}]}, 'train.anchor_opt[0].type is SaliencyMask, the name of a mask, not '
     'of an anchor: use one of DistanceAnchor, '),
    ({'mask_opt': {'type': 'LastLayersMask', 'count': True}}, 'train.mask_opt.count is true, not a whole number'),
    ({'forget_opt': {'type': 'TargetLoss', 'target': 'degradd'}}, 'did you mean degraded?'),
    ({'adversarial_opt': {'type': 'AdversarialRetainLoss', 'attack': {'type': 'pgd', 'steps': 2.5}}},
     'train.adversarial_opt.attack.steps is 2.5, not a whole number from 1'),
    ({'optim_g': {'type': 'Adam', 'lr': 1e-4, 'betas': [0.9]}}, 'optim_g.betas is [0.9], not a list of 2 numbers'),
    ({'proxy_opt': {'iters': 3, 'edit_opt': {'type': 'FisherMask', 'share': 0.1}}}, 'train.proxy_opt.edit_opt.type'),
    ({'phases': [{'terms': ['forget'], 'steps': 3}]}, 'train.phases[0].steps is no option'),
]


@pytest.mark.parametrize('train, sentence', MALFORMED, ids=lambda value: str(value)[:60])
def test_malformed_files_are_refused_by_the_checks_and_by_the_schema(train, sentence):
    options = load_option_file('options/unlearn_haze.yml')
    assert errors(options) == []
    options['train'] |= train
    with pytest.raises(OptionError) as caught:
        check_options(options, is_train=True)
    assert sentence in str(caught.value) and '\n' not in str(caught.value)
    assert errors(options)


@pytest.mark.parametrize('change', [{'nam': 'x'}, {'scale': 1.5}, {'network_g': {'type': 'NafNet'}}, {'val': {}},
                                    {'model_type': 5}, {'logger': None, 'path': None},
                                    {'datasets': {'train': {'type': 'ForgetRetainDataset', 'gt_siz': 3}}}])
def test_the_schema_tells_mistakes_outside_of_train(change):
    assert errors({**load_option_file('options/unlearn_haze.yml'), **change})


def test_a_model_of_another_package_may_have_any_option():
    options = load_option_file('options/unlearn_haze.yml')
    options |= {'model_type': 'TheirModel', 'network_d': {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3}}
    options['train'] = {'total_iter': 3, 'scheduler': options['train']['scheduler'], 'gan_opt': {'type': 'GANLoss'}}
    assert errors(options) == []
