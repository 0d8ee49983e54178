"""Equal in every bit: for training states, which hold tensors in dicts in lists."""
import torch


def assert_same(first, second, where: str = '') -> None:
    """Fail, naming the place, unless both are of one type and equal throughout."""
    assert type(first) is type(second), where
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for key in first:
            assert_same(first[key], second[key], f'{where}/{key}')
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), where
        for index, pair in enumerate(zip(first, second)):
            assert_same(*pair, f'{where}/{index}')
    else:
        assert first == second, where
