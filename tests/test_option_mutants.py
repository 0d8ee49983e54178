"""Mutated option files: each is accepted or refused with one sentence, and no option goes unnoticed."""
import random
from copy import deepcopy
from pathlib import Path

import pytest

from basicsr_unlearn.errors import OptionError, UnlearnError
from basicsr_unlearn.methods.presets import expand_method
from basicsr_unlearn.options.option_file import check_options, load_option_file
from basicsr_unlearn.proof.audit.audit_plan import read_audit
from tests.torture.calling import is_sentence
from tests.torture.mutants import VALUES, options_of, value_mutants

OPTIONS = Path(__file__).resolve().parents[1] / 'options'
RUNS = sorted(path for path in OPTIONS.glob('*.yml') if 'model_type:' in path.read_text(encoding='utf-8'))
ANYTHING = ('io_backend', 'dist_params', 'input_order')  # what BasicSR takes there is BasicSR's own matter


def blocks_of(block: object, above: tuple = ()) -> list[tuple]:
    """The paths of all blocks in a file."""
    inside = block.items() if isinstance(block, dict) else enumerate(block) if isinstance(block, list) else ()
    found = [above] if isinstance(block, dict) else []
    return found + [path for key, value in inside for path in blocks_of(value, (*above, key))]


def at(block: object, path: tuple) -> object:
    for key in path:
        block = block[key]
    return block


def test_no_misspelt_option_goes_unnoticed():
    """Every option of every block of every file, with a letter more, and an option more in every block."""
    count = 0
    for path in RUNS:
        options = expand_method(load_option_file(str(path)))
        for where in blocks_of(options):
            if set(where) & set(ANYTHING) or where in (('datasets',), ('val', 'metrics')) or 'choices' in at(
                    options, where):
                continue
            for key in ('no_such_option', *random.Random(count).sample(list(at(options, where)), 1)):
                broken = deepcopy(options)
                block = at(broken, where)
                block[f'{key}x'] = block.pop(key) if key in block else 1
                count += 1
                with pytest.raises(OptionError) as caught:
                    check_options(broken, 'train' in options)
                assert is_sentence(f'Error: {caught.value}'), caught.value
    assert count > 800


@pytest.mark.parametrize('wrong', [{'x': 1}, [['x']], 'no such thing'], ids=str)
def test_no_value_of_another_type_goes_unnoticed(wrong):
    options = load_option_file('options/unlearn_haze.yml')
    free = {('plugin',), ('model_type',), ('name',), ('datasets', 'train', 'name')}
    count = 0
    for where in blocks_of(options):
        for key, value in at(options, where).items():
            place = (*where, key)
            is_string = isinstance(value, str) or value is None
            if place in free or set(place) & set(ANYTHING) or isinstance(wrong, str) and is_string:
                continue  # a text where a text may stand: the name of a file, which the preflight looks for
            broken = deepcopy(options)
            at(broken, where)[key] = wrong
            count += 1
            with pytest.raises(OptionError):
                check_options(broken, is_train=True)
                pytest.fail(f'{place} = {wrong} was accepted')
    assert count > 60


def test_mutants_are_judged_with_a_sentence(tmp_path):
    mutants = [mutant for path in (*RUNS, OPTIONS / 'audit_haze.yml')
               for mutant in random.Random(1).sample(list(value_mutants(path.name, options_of(path))), 12)]
    outcomes = {True: 0, False: 0}
    for mutant in mutants:
        path = tmp_path / mutant.file
        path.write_bytes(mutant.content())
        try:
            if mutant.file.startswith('audit'):
                read_audit(str(path))
            else:
                check_options(expand_method(load_option_file(str(path))), not mutant.file.startswith('test'))
        except UnlearnError as error:
            assert is_sentence(f'Error: {error}'), (mutant.what, str(error))
            outcomes[False] += 1
        else:
            outcomes[True] += 1
    assert len(mutants) > 200 and outcomes[False] > outcomes[True] > 0 and len(VALUES) > 50
