"""Which rows of the data set a batch is made of, where a loader's batch sampler says so."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import IterableDataset

from supervisor.training.containers import named_entries
from supervisor.training.noted_reading import note_rows_of
from supervisor.training.row_names import Index, row_name, row_names

__all__ = ["IndexRecorder", "indices_in", "loader_of_rows"]

KEYS = ("index", "indices")
"""Names under which a batch that is a dictionary, a dataclass or a named tuple may tell its own rows."""


class IndexRecorder:
    """Listens to the batch sampler of a loader while the loader is read.

    Only the iterators that are begun inside `recording` are listened to; the loader itself stays as it is, and nothing
    is drawn. Worker processes take their indices ahead of the batches, in the same order.

    Args:
        loader: an object with a `batch_sampler` of its own, over a data set of rows.
        never: rows that are not to be read: the loader is not asked for them, but for batches of nothing else.

    Attributes:
        loader: that object.
    """

    def __init__(self, loader: Any, never: Collection[Any] = ()) -> None:
        self.loader = loader
        self._never = frozenset(never)
        self._ahead = getattr(loader, "num_workers", 0) > 0
        self._lists: deque[list[Any]] = deque()
        self._aligned = True
        self._sampler = _Sampler(loader.batch_sampler, self._lists, self._never)

    @classmethod
    def of(cls, data: Any, never: Collection[Any] = ()) -> IndexRecorder | None:
        """A recorder for `data`, or for what it wraps; None where there is no batch sampler to listen to."""
        loader = loader_of_rows(data)
        return None if loader is None else cls(loader, never)

    @contextlib.contextmanager
    def recording(self, *, from_start: bool) -> Iterator[None]:
        """Listen to the iterator that is begun inside.

        Args:
            from_start: it begins at the start of an epoch; one that goes on in the middle may have skipped batches
                that were not recorded.
        """
        self._lists.clear()
        self._aligned = from_start
        note_rows_of(self.loader.dataset, self._never)
        held = vars(self.loader)
        original = held["batch_sampler"]
        # Past the loader's own check, which forbids another sampler: this one gives what the original gives.
        held["batch_sampler"] = self._sampler
        try:
            yield
        finally:
            held["batch_sampler"] = original

    def take(self) -> list[Index] | None:
        """The rows of the batch just drawn, by name, to be asked for once a batch; None where they are not known."""
        asked = self.take_as_asked()
        return None if asked is None else row_names(asked)

    def take_as_asked(self) -> list[Any] | None:
        """As `take`, with the rows as the sampler asks for them: NumPy's numbers, tensors, or keys without a name."""
        if not self._lists:
            return None
        if self._ahead:
            return self._lists.popleft() if self._aligned else None
        # Without workers the sampler is asked once a batch: the last list is this batch's.
        last = self._lists[-1]
        self._lists.clear()
        return last


def loader_of_rows(data: Any) -> Any | None:
    """The loader that `data` is or wraps, where a batch sampler tells it which rows of a data set to fetch."""
    seen = data
    while seen is not None and "batch_sampler" not in getattr(seen, "__dict__", {}):
        seen = getattr(seen, "__dict__", {}).get("_data")
    sampler = None if seen is None else vars(seen)["batch_sampler"]
    held = getattr(seen, "dataset", None)
    # The class that torch gives to a stream has the method, too, and its sampler gives no indices.
    rows = hasattr(held, "__getitem__") and not isinstance(held, IterableDataset)
    return seen if sampler is not None and rows else None


def indices_in(batch: Any) -> list[Index] | None:
    """The indices that a batch tells itself: under `index` or `indices`, in what has names for its entries."""
    held = named_entries(batch)
    for key in KEYS:
        told = held.get(key)
        if isinstance(told, Tensor) and told.dim() == 1 and not told.is_floating_point():
            return [int(each) for each in told.tolist()]
        if isinstance(told, (list, tuple)) and all(isinstance(each, (int, str)) for each in told):
            return list(told)
    return None


class _Overheard:
    """Stands for a batch sampler or its iterator, and notes the lists of indices that come from it."""

    def __init__(self, overheard: Any, lists: deque[list[Any]], never: frozenset[Any]) -> None:
        self._overheard = overheard
        self._lists = lists
        self._never = never

    def __getattr__(self, name: str) -> Any:
        return getattr(self._overheard, name)


class _Sampler(_Overheard):
    """A batch sampler whose lists of indices are noted."""

    def __iter__(self) -> Iterator[Any]:
        self._lists.clear()
        iterator = iter(self._overheard)
        stateful = all(hasattr(iterator, name) for name in ("state_dict", "load_state_dict"))
        return (_StatefulBatches if stateful else _Batches)(iterator, self._lists, self._never)

    def __len__(self) -> int:
        return len(self._overheard)


class _Batches(_Overheard):
    """An iterator over lists of indices that notes each of them."""

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        indices = next(self._overheard)
        # An array or a tensor of NumPy's or torch's has a shape; the rows of anything else are not known.
        if not (isinstance(indices, Sequence) or hasattr(indices, "shape")):
            self._lists.append([])
            return indices
        kept = [position for position, index in enumerate(indices) if row_name(index) not in self._never]
        # A batch of nothing else counts as drawn all the same, so that it cannot be passed over here.
        if kept and len(kept) < len(indices):
            indices = indices[kept] if hasattr(indices, "shape") else [indices[position] for position in kept]
        self._lists.append(list(indices))
        return indices


class _StatefulBatches(_Batches):
    """One whose position can be saved. The methods stand on the class, where loaders look for them."""

    def state_dict(self) -> Any:
        return self._overheard.state_dict()

    def load_state_dict(self, state: Any) -> None:
        self._overheard.load_state_dict(state)
