"""A small part of `make torture` that takes seconds: mutated option files, and how what they end in is judged."""
import os
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # pytest alone does not put the checkout there

from basicsr_unlearn.errors import OptionError  # noqa: E402
from tests.torture.calling import Call, is_sentence, problem  # noqa: E402
from tests.torture.mutants import options_of, value_mutants  # noqa: E402
from tests.torture.option_files import OPTIONS, check_all, judged, shipped_mutants  # noqa: E402
from tests.torture.pool import each  # noqa: E402


def test_mutated_option_files_end_in_a_sentence_or_are_accepted():
    mutants = shipped_mutants(138)  # six of each file
    found = dict(check_all(mutants))
    assert len(found) == len(mutants) == 138
    assert {what: problem for what, problem in found.items() if problem} == {}


def test_a_component_may_be_anything():
    """A `type` that is a list or a block, in every slot of one file."""
    mutants = [mutant for mutant in value_mutants('unlearn_haze.yml', options_of(OPTIONS / 'unlearn_haze.yml'))
               if '.type = ' in mutant.what and mutant.what.endswith(('= []', "['L1Loss']", '= {}', "{'type': 5}"))]
    assert len(mutants) > 40
    assert [found for found in check_all(mutants) if found[1]] == []


@pytest.mark.parametrize('check, words', [
    (lambda: [].x, 'AttributeError'),
    (lambda: time.sleep(30), 'no end'),
    (lambda: (_ for _ in ()).throw(OptionError('a\nb')), 'no sentence'),
    (lambda: (_ for _ in ()).throw(OptionError('train.lr is 5, not a number.')), None),
    (lambda: None, None),
])
def test_the_judge_tells_a_sentence_from_a_traceback(check, words, monkeypatch):
    monkeypatch.setattr('tests.torture.option_files.SECONDS', 1)
    found = judged(check)
    assert found is None if words is None else words in found


@pytest.mark.parametrize('code, stderr, is_fine', [
    (0, '', True), (2, 'Error: train.lr is 5, not a number.\n', True), (2, '', False), (None, '', False),
    (1, 'Error: train.lr is 5, not a number.', False), (-9, '', False),
    (2, 'Traceback (most recent call last):\nValueError: x\n', False), (2, 'Error: x', False),
])
def test_how_a_call_ended(code, stderr, is_fine):
    assert (problem(Call([], Path('.'), code=code, stderr=stderr)) is None) == is_fine


def test_a_sentence_has_an_end():
    assert is_sentence('Error: The folder x does not exist.') and not is_sentence('Error: The folder x does not exist')


def test_an_input_that_kills_or_hangs_its_process_is_a_result():
    def function(value: int) -> int:
        if value == 3:
            os._exit(9)
        if value == 5:
            time.sleep(60)
        return value * 2

    found = sorted(each(function, range(8), seconds=1, jobs=2))
    assert [(index, result) for index, result, trouble in found if trouble is None] == [
        (index, 2 * index) for index in range(8) if index not in (3, 5)]
    assert {index: trouble for index, _, trouble in found if trouble} == {
        3: 'its process ended with 9', 5: 'no end after 1 s'}
