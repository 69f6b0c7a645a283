"""The position in the data: which batch comes next, and how to come back to it."""

from __future__ import annotations

import contextlib
import operator
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from supervisor.errors import InputError
from supervisor.training.bad_rows import NOTHING_LEFT, BadSamples, read_again, read_past
from supervisor.training.coming_again import what_to_keep
from supervisor.training.data_indices import IndexRecorder
from supervisor.training.data_position import DataPosition, Told
from supervisor.training.device import devices_of, placed
from supervisor.training.end_of_data import END, begun, draw, why_short
from supervisor.training.loader_errors import DataFault, loader_error, why_empty, why_ended
from supervisor.training.loaders import has_lasting_workers, have_lasting_workers, loader_undisturbed
from supervisor.training.recent_rows import RecentRows, without_rows
from supervisor.training.rng import capture_rng, generator_states, preserved_rng, restore_generators, restore_rng
from supervisor.training.trainer import as_stateful
from supervisor.training.tree import clone
from supervisor.training.untold_rows import UntoldRows

__all__ = ["DataCursor"]


class DataCursor(DataPosition):
    """Draws batches epoch after epoch and can go back to an earlier position.

    Data are begun again with the generators as they were when the epoch began. Those with `state_dict` and
    `load_state_dict` are asked for their own position; any other iterable is read up to it: the same batches where
    items are deterministic by index. An iterator that cannot be begun again (a generator) cannot go back.

    Batches that were drawn and not used can be put back: they come first, and count as drawn once.

    Samples that are quarantined are left out of batches as they are drawn, where their rows are known
    (`IndexRecorder`); a batch that has no other samples is passed over, and counts as drawn.

    Args:
        data: iterable of batches.
        never: rows that are not to be read at all, where the loader can be asked for others.

    Attributes:
        batch_in_epoch: batches drawn in the epoch in progress.
    """

    leaves_out = True

    def __init__(self, data: Iterable[Any], never: Collection[Any] = ()) -> None:
        super().__init__()
        self._data = data
        self._stateful = as_stateful(data)
        self.once_alone = isinstance(data, Iterator) and self._stateful is None
        self._iterator: Iterator[Any] | None = None
        self._epoch_start: dict[str, Any] | None = None
        self._pending: deque[Any] = deque()
        self._given: tuple[Any, ...] = ()
        self._recorder = IndexRecorder.of(data, never)
        self._untold = UntoldRows()
        self._recent = RecentRows()
        self.batch_in_epoch = 0
        self._generators_then: list[Any] = []

    @property
    def can_go_back(self) -> bool:
        """Whether earlier batches can be had again."""
        return not self.once_alone

    def tell_of_next(self, told: Told) -> None:
        """Tell of the next batch that is drawn from the data: put back ones are passed over."""
        self._told, self._generators_then = told, generator_states(self._data)

    def draw_ahead(self) -> None:
        """Draw the batch that is to be told of now, for nobody will: this process ends, and the data with it.

        Nothing is drawn where batches that were put back come first, for a step between moves the generators.
        """
        if self._told is not None and not self._pending and not self.once_alone:
            # Where whoever asked was when he did: an evaluation may have read the same data since.
            restore_generators(self._data, self._generators_then)
            self.next()

    def why_not_again(self, *, same_rows: bool = False) -> str:
        """What keeps the data from coming again, and the mend."""
        return what_to_keep(self._data, same_rows=same_rows)

    def give(self, count: int) -> tuple[Any, ...]:
        """Draw the batches of one update. Until `used` is called they can be taken back.

        Raises:
            BadSamples: the data set raised for one of them; those before it can be taken back.
        """
        self._given = ()
        if not self._pending:
            self._untold.tell()
        try:
            for _ in range(count):
                self._given += (self.next(),)
        except BadSamples as bad:
            bad.before = self._given
            raise
        return self._given

    def handed(self, batches: Sequence[Any]) -> bool:
        """Whether these are the very batches that were given last and were not used yet; they were counted then."""
        return len(self._given) == len(batches) and all(map(operator.is_, batches, self._given))

    def used(self) -> None:
        """The batches given last have served an update, whether it was applied or discarded."""
        self._given = ()

    def take_back(self) -> None:
        """Have the batches come again that were given and never used."""
        self.put_back(self._given)
        self._given = ()

    def taken_from(self, batches: Sequence[Any]) -> None:
        """Nothing: they were counted as they were drawn, and can be taken back."""

    @property
    def last_number(self) -> int | None:
        """Number of the batch that `next` gave last, from 0; None before the first."""
        number = self.batch_number - 1 - len(self._pending)
        return None if number < 0 else number

    def next(self) -> Any:
        """The next batch: one that was put back, or else one from the data, which begin again when they end.

        Raises:
            InputError: the data hold no batch, or are an iterator that ended and cannot begin again.
            BadSamples: the data set raised for this one.
        """
        if self._pending:
            batch = self._pending.popleft()
            self._recent.again(batch)
            return batch
        batches = self.batch_number
        while True:
            batch, indices = self._draw()
            if self._told is not None:
                self._tell(batch, indices)
            if self.quarantined:
                batch, indices = without_rows(batch, indices, self.quarantined)
            if batch is not NOTHING_LEFT:
                self._recent.drawn(batch, indices)
                return batch
            if self.batch_in_epoch == 1 and self.batch_number - batches > 1:
                raise InputError("data: every sample of an epoch is quarantined: look into what the list holds")

    def ahead(self) -> Any:
        """The next batch, for an experiment: without rows that raise. `give` tells of them after what is put back.

        Raises: as `next`.
        """
        batch, rows = self._untold.draw(self.next)
        if rows is not None:
            self._recent.drawn(batch, rows)
        return batch

    def recent_indices(self, batches: Sequence[Any]) -> list[Any] | None:
        """Rows of the data set that the batches drawn last are made of, sample by sample; None where not known."""
        return self._recent.of(batches)

    def _draw(self) -> tuple[Any, list[Any] | None]:
        fresh = self._iterator is None
        iterator = self._begin() if self._iterator is None else self._iterator
        try:
            batch = draw(iterator)
        except Exception as error:
            told = loader_error(error, iterator)
            if told.fault is not DataFault.BAD_SAMPLE or self._recorder is None:
                raise
            left_out = self.quarantined | self._untold.rows
            again = read_again(self._recorder.loader, self._recorder.take_as_asked(), left_out)
            self.batch_number += 1
            self.batch_in_epoch += 1
            if again.explained:
                return again.batch, again.kept
            raise BadSamples(told, error, again, self.batch_number - 1) from error
        if batch is END:
            if fresh and self.batch_in_epoch == 0:
                raise InputError(why_empty(self._data))
            if self.once_alone:
                raise InputError(why_ended(self.batch_number))
            self._warn_once(why_short(self._data, self.batch_in_epoch))
            self._end_epoch()
            return self._draw()
        self.batch_number += 1
        self.batch_in_epoch += 1
        return batch, None if self._recorder is None else self._recorder.take()

    def put_back(self, batches: Sequence[Any]) -> None:
        """Give back batches that were drawn and not used: `next` gives them again, in this order, before any other.

        They keep the numbers under which they were drawn, so that no count changes. They are kept as they are, not
        copied.
        """
        self._pending.extendleft(reversed(batches))

    def ended_epoch(self) -> bool:
        """True when the batch just drawn was the last of its epoch; the next epoch then counts as begun.

        An epoch has not ended while one of its batches is put back. Only data that know their length can tell; others
        end their epoch when the next batch is asked for.
        """
        try:
            length = len(self._data)  # type: ignore[arg-type]
        except TypeError:
            return False
        if self._pending or self.batch_in_epoch == 0 or self.batch_in_epoch < length or self.once_alone:
            return False
        # Data may prepare their next epoch when they are asked for a batch that they no longer have.
        next(self._iterator or iter(()), None)
        self._end_epoch()
        return True

    def undisturbed(self) -> contextlib.AbstractContextManager[object]:
        """A block in which somebody else may read the data, and after which the next batch is the one it was."""
        return loader_undisturbed(self._data, self.position, self.seek)

    def position(self) -> dict[str, Any]:
        """Where the data stand, as tensors and plain values; batches put back are in it as they are (`writable`)."""
        begun = self._iterator is not None
        # Before it has begun, a loader of torch's draws random numbers for its state; its generators are enough then.
        tells = begun or not hasattr(self._data, "batch_sampler")
        return {
            "batch_number": self.batch_number,
            "epoch": self.epoch,
            "batch_in_epoch": self.batch_in_epoch,
            "loader": clone(self._stateful.state_dict()) if tells and self._stateful is not None else None,
            "generators": generator_states(self._data),
            "epoch_start": clone(self._epoch_start) if begun else None,
            "workers": has_lasting_workers(self._data),
            "untold": self._untold.state_dict(),
            "pending": [(batch, sorted(devices_of(batch))) for batch in self._pending],
        }

    def seek(self, position: Mapping[str, Any]) -> None:
        """Go to a position that `position` gave. Leaves the global generators as they are.

        Raises:
            InputError: the data cannot go back.
        """
        if self.once_alone:
            raise InputError("data: an iterator cannot go back: give a list or a DataLoader")
        if "epoch" not in position:
            raise InputError("data: the state is of a run whose batches the caller drew: give `position` again")
        self._iterator = self._told = None
        self._untold.load_state_dict(position.get("untold", ()))
        self._pending = deque(placed(batch, devices) for batch, devices in position["pending"])
        self.batch_number = position["batch_number"]
        self.epoch = position["epoch"]
        self.batch_in_epoch = position["batch_in_epoch"]
        with preserved_rng():
            begun = position["epoch_start"] is not None
            if self._stateful is None:
                running = position["epoch_start"]["workers"] if begun else position["workers"]
                have_lasting_workers(self._data, running, lambda: self._iterate(from_start=True))
            if begun:
                self._epoch_start = clone(position["epoch_start"])
                restore_rng(position["epoch_start"]["rng"])
                restore_generators(self._data, position["epoch_start"]["generators"])
            if position["loader"] is not None and self._stateful is not None:
                self._stateful.load_state_dict(clone(position["loader"]))
            if begun:
                self._iterator = self._iterate(from_start=self._stateful is None)
                for _ in range(self.batch_in_epoch if self._stateful is None else 0):
                    if not read_past(self._iterator):
                        what = f"data: an epoch ends before its batch {self.batch_in_epoch}, where the run stands"
                        raise InputError(f"{what}: give the data that it was trained on")
                    if self._recorder is not None:
                        self._recorder.take()
        # A loader draws from its generator after the point its own state goes back to.
        restore_generators(self._data, position["generators"])

    def resume(self, position: Mapping[str, Any]) -> None:
        """Go to the position of a checkpoint, where the data can go anywhere at all."""
        if self.can_go_back and position:
            self.seek(position)

    def _begin(self) -> Iterator[Any]:
        if not self.once_alone:
            self._epoch_start = {
                "rng": capture_rng(),
                "generators": generator_states(self._data),
                "workers": has_lasting_workers(self._data),
            }
        self._iterator = self._iterate(from_start=True)
        return self._iterator

    def _iterate(self, *, from_start: bool) -> Iterator[Any]:
        heard = self._recorder
        with contextlib.nullcontext() if heard is None else heard.recording(from_start=from_start):
            return begun(self._data)

    def _end_epoch(self) -> None:
        self._iterator, self.batch_in_epoch = None, 0
        self.epoch += 1
