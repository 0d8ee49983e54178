"""The examples of the documentation, run as a reader would, if for fewer steps."""
import importlib.util
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from test_unlearner import BLOCKED, OwnNet, batches, seeded, trained

EXAMPLES = Path(__file__).resolve().parents[2] / 'docs' / 'examples'


def example(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_loop_of_ones_own_runs_without_basicsr_and_lets_go_of_the_haze():
    """A tenth as long as the example: haze falls from above the input to near it, in a process without BasicSR."""
    program = f'{BLOCKED}\nimport runpy\nprint(runpy.run_path({str(EXAMPLES / "own_loop.py")!r})["main"](steps=200))'
    done = subprocess.run([sys.executable, '-c', program], cwd=EXAMPLES.parents[1], text=True, capture_output=True,
                          env={'PYTHONPATH': str(EXAMPLES.parents[1]), 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr
    scores = eval(done.stdout.splitlines()[-1])  # noqa: S307  the dict that it printed
    haze = {name: kinds['haze'] for name, kinds in scores.items()}
    assert haze['original'] > haze['input'] + 2
    assert abs(haze['unlearned'] - haze['input']) < 0.4 * (haze['original'] - haze['input'])


@pytest.mark.filterwarnings('ignore')
def test_the_lightning_module_makes_the_unlearner_s_steps_and_resumes(tmp_path):
    lightning = pytest.importorskip('lightning', reason='the Lightning example needs pip install lightning')
    module, given = example('lightning_module'), batches(6)
    pairs = [{'forget': forget, 'retain': retain} for forget, retain in given]
    loader = torch.utils.data.DataLoader(pairs, batch_size=None)

    def trainer(steps: int):
        return lightning.Trainer(max_steps=steps, accelerator='cpu', logger=False, enable_progress_bar=False,
                                 enable_checkpointing=False, enable_model_summary=False, default_root_dir=tmp_path)

    whole = module.Forgetting(trained(), method='salun', evidence_batches=2)
    trainer(4).fit(whole, loader)  # two batches are collected, four trained on
    assert whole.unlearner.iteration == 4
    by_hand = module.Unlearner(trained(), 'salun', evidence_batches=2)
    for batch in given:
        by_hand.step(*batch)
    for name, weight in by_hand.net.state_dict().items():
        assert torch.equal(weight, whole.net.state_dict()[name]), name

    stopped = module.Forgetting(trained(), method='calibrated', total_iter=3)
    run = trainer(99)
    run.fit(stopped, loader)
    assert stopped.unlearner.done and run.global_step == 3
    run.save_checkpoint(tmp_path / 'state.ckpt')
    again, end = module.Forgetting(seeded(OwnNet, 9), method='calibrated'), deepcopy(stopped.net.state_dict())
    trainer(3).fit(again, loader, ckpt_path=tmp_path / 'state.ckpt', weights_only=True)
    assert again.unlearner.iteration == 3
    assert all(torch.equal(weight, again.net.state_dict()[name]) for name, weight in end.items())
