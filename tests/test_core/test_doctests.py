"""The examples of the core run, and every public function has one."""
import doctest
import importlib
import inspect
import pkgutil

import pytest
import torch
from torch import nn

from basicsr_unlearn import core

MODULES = sorted(module.name for module in pkgutil.walk_packages(core.__path__, 'basicsr_unlearn.core.'))


def functions(module) -> dict:
    return {name: value for name, value in vars(module).items() if inspect.isfunction(value)
            and value.__module__ == module.__name__ and not name.startswith('_')}


@pytest.mark.parametrize('name', MODULES)
def test_the_examples_of_a_module_say_what_is(name):
    torch.manual_seed(0)
    module = importlib.import_module(name)
    finder = doctest.DocTestFinder(exclude_empty=True)
    runner, said = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS), []
    for test in finder.find(module, name, extraglobs={'torch': torch, 'nn': nn}):
        runner.run(test, out=said.append)
    assert runner.failures == 0, ''.join(said)


@pytest.mark.parametrize('name', MODULES)
def test_every_function_has_an_example(name):
    without = [found for found, function in functions(importlib.import_module(name)).items()
               if '>>>' not in (function.__doc__ or '')]
    assert without == []
