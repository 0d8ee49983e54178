"""The plugin's own errors: each carries one sentence for the person at the keyboard."""


class UnlearnError(Exception):
    """Something a user can put right. The message says what was found, where, and what to do; exit code 2."""


class OptionError(UnlearnError):
    """An option is unknown, missing, of the wrong type or out of range."""


class DataError(UnlearnError):
    """An image, folder, pair list or LMDB cannot be used."""


class CheckpointError(UnlearnError):
    """A checkpoint cannot be read, does not fit the network, or cannot be written."""


class TrainingError(UnlearnError):
    """Training reached a state that must not pass for success, such as a loss that is not finite."""


class InstallationError(UnlearnError, ImportError):
    """A package that this one needs is missing, cannot be loaded, or is another of the same name."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, on the CPU, where torch has no error type for it, or on a GPU."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in (
        'out of memory', "can't allocate memory", 'not enough memory'))


def from_torch(error: Exception) -> str | None:
    """The sentence for what torch raises in words of its own and a user can put right; None for any other error."""
    message = str(error)
    if is_out_of_memory(error):
        first = ' '.join(message.split('. ')[0].split()) or 'the system gave no more'
        return (f'Memory ran out ({first}): lower batch_size_per_gpu, gt_size or num_worker_per_gpu of datasets.train, '
                'or set val.tile, which restores images in parts.')
    if 'without overflow' in message:
        return ('A step of the optimizer is too large for a number of 32 bits: lower lr and weight_decay of '
                'train.optim_g, or gamma and eta_min of train.scheduler.')
    return None
