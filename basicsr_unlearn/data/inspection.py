"""What a data set may tell before a run, so that its files can be checked without drawing a sample."""
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch.utils.data import Dataset

from basicsr_unlearn.data.store import ImageStore

Size = tuple[int, int]  # height, width
StoredImage = tuple[ImageStore, str]  # where it is, and its name there


@runtime_checkable
class Inspectable(Protocol):
    """A data set that can be looked into. DrawnDataset has these methods, with nothing to tell; of a data set without
    them only the first item is read.
    """

    def inner(self) -> Mapping[str, list[Dataset]]:
        """The data sets that it mixes, by the name of the stream; empty for one that reads images itself."""

    def images(self) -> list[StoredImage]:
        """All images that it reads."""

    def inputs(self) -> set[tuple[str, str]]:
        """What it shows as degraded input: a file, or a photograph and what is done to it."""

    def check(self, sizes: Mapping[str, Size]) -> None:
        """Raise DataError unless its images, of these sizes by path, can be used together."""


def leaves(dataset: Dataset) -> list[Dataset]:
    """The data sets that read images, those inside mixes included."""
    inner = dataset.inner() if isinstance(dataset, Inspectable) else {}
    return [leaf for sets in inner.values() for child in sets for leaf in leaves(child)] or [dataset]
