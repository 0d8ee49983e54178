"""What is counted of a run's passes, against what its networks themselves see."""
from copy import deepcopy

import torch
from torch import nn

from basicsr_unlearn.core.attacks import pgd
from basicsr_unlearn.core.losses import TargetLoss
from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.core.objective import Objective, Paired
from basicsr_unlearn.core.passes import PassCounter
from basicsr_unlearn.core.unlearner import Unlearner

LQ = torch.rand(4, 3, 8, 8)


def test_forward_and_backward_by_network():
    student, teacher, counter = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), PassCounter()
    with counter.counting({'student': student, 'teacher': teacher, 'proxy': None}):
        with torch.no_grad():
            goal = teacher(LQ)
        first, second = student(torch.cat([LQ, LQ])).chunk(2)  # both streams in one pass
        ((first - goal).abs().mean() + second.mean()).backward()
        with torch.no_grad():
            student(LQ[:1])
    assert counter.samples == {'teacher_forward': 4, 'student_forward': 9, 'student_backward': 8}


def test_two_gradients_through_one_output_are_two_backward_passes():
    student, counter = nn.Conv2d(3, 3, 1), PassCounter()
    with counter.counting({'student': student}):
        output = student(LQ)
        for goal in (output.mean(), output.square().mean()):
            torch.autograd.grad(goal, list(student.parameters()), retain_graph=True)
    assert counter.samples == {'student_forward': 4, 'student_backward': 8}


def test_attacks_and_copies_are_kinds_of_their_own():
    student, counter = nn.Conv2d(3, 3, 1), PassCounter()
    with counter.counting({'student': student}):
        with eval_mode(student):
            moved = pgd(lambda x: student(x).abs().mean((1, 2, 3)), LQ, 0.1, 0.05, 2, 'linf', False)
        student(moved)
        copied = deepcopy(student)
        copied(LQ).mean().backward()
    assert counter.samples == {'attack_forward': 8, 'attack_backward': 8, 'student_forward': 4, 'copy_forward': 4,
                               'copy_backward': 4}
    copied(LQ)
    assert sum(counter.samples.values()) == 28, 'nothing counts outside of the block'


def test_nothing_is_left_on_the_network_and_counts_go_on():
    student = nn.Conv2d(3, 3, 1)
    counter = PassCounter({'student_forward': 10})
    with counter.counting({'student': student}):
        student(LQ)
    assert counter.samples['student_forward'] == 14 and not student._forward_hooks


def batch() -> dict[str, torch.Tensor]:
    return {'lq': torch.rand(2, 3, 8, 8), 'gt': torch.rand(2, 3, 8, 8)}


def test_a_step_of_a_method_is_counted_and_the_count_goes_on_after_a_resume():
    torch.manual_seed(0)
    objective = Objective({'forget': TargetLoss('degraded'), 'retain': Paired(nn.L1Loss(), 'teacher')})
    unlearner = Unlearner(nn.Conv2d(3, 3, 1), objective=objective, optim_g={'type': 'Adam', 'lr': 1e-3})
    unlearner.step(batch(), batch())
    once = unlearner.passes.samples
    # both streams once through the network and back, one of them through the teacher
    assert once == {'g_forward': 4, 'g_backward': 4, 'teacher_forward': 2}
    unlearner.load_state_dict(unlearner.state_dict())
    unlearner.step(batch(), batch())
    assert unlearner.passes.samples == {kind: 2 * count for kind, count in once.items()}


def test_what_parts_look_at_before_the_first_step_is_counted_too():
    torch.manual_seed(0)
    unlearner = Unlearner(nn.Conv2d(3, 3, 1), 'salun', total_iter=40)
    unlearner.prepare([batch()] * 3, [batch()] * 3)
    once = {'preparation_forward': 6, 'preparation_backward': 6}
    assert unlearner.passes.samples == once
    # a resumed run makes its masks again, and is to hold what the uninterrupted one does
    resumed = Unlearner(nn.Conv2d(3, 3, 1), 'salun', total_iter=40)
    resumed.passes, resumed.iteration = PassCounter(once), 5
    resumed.prepare([batch()] * 3, [batch()] * 3)
    assert resumed.passes.samples == once
