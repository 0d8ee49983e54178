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
