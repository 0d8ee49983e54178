"""Two processes on the CPU, by torchrun: they lose, stop and end together.

Starting them takes most of the time, so each run tries several things at once.
"""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import basicsr_unlearn

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='two processes without a GPU, where there is none')
CHECKOUT = Path(basicsr_unlearn.__file__).resolve().parents[1]
# registers the tests' components, runs the entry point, and tells what came of it in this process
DRIVER = """
import hashlib, json, os, sys
import torch
torch.set_num_threads(1)
sys.path.insert(0, {tests!r})
import conftest
from basicsr_unlearn import train
import basicsr.train as pipeline
from basicsr_unlearn.models.unlearn_model import UnlearnModel
step, held = UnlearnModel.optimize_parameters, []
def noted(self, iteration):
    held.append(self.unlearner.stop_rule.holding)
    step(self, iteration)
UnlearnModel.optimize_parameters = noted
build, models = pipeline.build_model, []
pipeline.build_model = lambda opt: models.append(build(opt)) or models[-1]
code = train.main(sys.argv[1:])
model = models[0]
weights = b''.join(weight.detach().numpy().tobytes() for weight in model.net_g.parameters())
with open(f'rank_{{os.environ["RANK"]}}.json', 'w') as file:
    json.dump(dict(code=code, iteration=model.iteration, stopped=model.stopped, held=held,
                   digest=hashlib.sha256(weights).hexdigest(),
                   rule=model.unlearner.stop_rule and model.unlearner.stop_rule.state_dict()), file)
sys.exit(code)
"""


@pytest.fixture
def two_processes(folder, option_file):
    """two_processes(changes) runs them; what each has come to, by rank."""
    def run(changes: dict) -> list[dict]:
        script = folder / 'driver.py'
        script.write_text(DRIVER.format(tests=str(Path(__file__).parent)))
        environment = {key: value for key, value in os.environ.items() if key not in ('RANK', 'WORLD_SIZE')}
        environment.update(OMP_NUM_THREADS='1', PYTHONPATH=str(CHECKOUT))
        done = subprocess.run(
            [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', '2', script, '-opt',
             option_file(changes), '--launcher', 'pytorch'], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [json.loads(Path(f'rank_{rank}.json').read_text()) for rank in (0, 1)]
    return run


def test_the_rule_on_batches_ends_both(two_processes, log, weights, same, unlearn):
    """With a fitted rate, adversarial samples and the gradient cosine, which run the network within and beside DDP, and
    an edit that each process draws for itself."""
    changes = {'train.total_iter': 60, 'train.edit_opt': {'type': 'ShrinkAndPerturb', 'alpha': 1e-3, 'secret': True},
               'train.optim_g.lr': 'auto', 'train.forget_step': 0.3, 'train.conflict_freq': 2,
               'train.retain_opt': None,
               'train.adversarial_opt': {'type': 'AdversarialRetainLoss', 'loss_weight': 0.1,
                                         'attack': {'type': 'pgd', 'steps': 2}},
               'train.ema_decay': 0.9, 'train.stop_opt': {'margin': 8.0, 'window': 2}, 'val.val_freq': 3}
    first, second = two_processes(changes)
    assert first['code'] == second['code'] == 0 and first['stopped'] and second['stopped']
    assert first['iteration'] == second['iteration'] < 60
    assert first['digest'] == second['digest']
    assert first['rule'] == second['rule'] and len(first['rule']['gaps']) == 2  # the mean over both batches
    text = log()
    assert f'Stop rule met at iteration {first["iteration"]}' in text
    assert text.count('iter:       1,') == 1 and 'l_adversarial' in text and 'grad_cosine' in text
    assert 'Validation haze' in text[text.index('Save the latest model'):]
    latest = torch.load('experiments/tiny/models/net_g_latest.pth', weights_only=True)
    assert latest.keys() == {'params', 'params_ema'}
    assert all(torch.isfinite(value).all() for value in latest['params'].values())


def test_the_rule_on_validation_sets_ends_both(two_processes, log, normalised):
    """Only the first process validates; the other waits, hears of it, and rests and stops with it.

    The network has batch normalisation, whose statistics DDP would share in validation too.
    """
    first, second = two_processes({
        'network_g': {'type': 'NormalisedNet'}, 'train.total_iter': 99, 'val.val_freq': 2,
        'logger.save_checkpoint_freq': 4, 'train.optim_g.lr': 5e-3, 'train.conflict_freq': 3,
        'train.forget_opt': {'type': 'GradientAscentLoss', 'loss_weight': 2.0},
        'train.stop_opt': {'check': 'val', 'margin': 99.0, 'retain_budget': 2.0, 'min_iter': 12}})
    assert first['code'] == second['code'] == 0
    assert first['iteration'] == second['iteration'] and first['digest'] == second['digest']
    assert first['rule'] == second['rule'] and first['held'] == second['held']
    assert {*first['held']} == {True, False}
    assert first['stopped'] and second['stopped'] and first['iteration'] < 99
    assert (Path('experiments/tiny/training_states') / '4.state').exists()
    assert 'Save the latest model' in log()
