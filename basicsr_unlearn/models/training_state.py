"""What a training state holds of a model, and when it is written."""
from typing import Any


def training_state(model: Any, epoch: int, iteration: int) -> dict:
    """What BasicSR resumes a model from, and under `run` the record of the run, where our entry point gave it one."""
    state = {'epoch': epoch, 'iter': iteration,
             'optimizers': [optimizer.state_dict() for optimizer in model.optimizers],
             'schedulers': [scheduler.state_dict() for scheduler in model.schedulers]}
    record = getattr(model, 'run_record', None)
    if record is not None:
        state['run'] = {'options': record.options, 'changes': record.changes, 'validation_due': record.validation_due}
    return state
