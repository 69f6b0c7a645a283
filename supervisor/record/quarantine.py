"""The samples of the data set that are left out, and the record of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supervisor.events import EventLog
from supervisor.events.quarantine_file import QuarantinedSample, write_quarantine
from supervisor.events.schema import QuarantinedEvent
from supervisor.records import Cause, Observation
from supervisor.training.data_position import DataPosition

__all__ = ["Quarantine"]

MOST_SHOWN = 5
"""How many rows a warning names."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Keeps bad samples out of the batches that follow.

    Attributes:
        enabled: whether samples are added at all.
        data: leaves them out.
        path: `RUN_DIR/quarantine.jsonl`, None to write nothing.
        log: hears of every addition.
    """

    enabled: bool
    data: DataPosition
    path: Path | None
    log: EventLog
    _samples: dict[int | str, QuarantinedSample] = field(default_factory=dict, init=False)
    _presumed: set[int | str] = field(default_factory=set, init=False)

    @property
    def takes(self) -> bool:
        """Whether samples can be added at all."""
        return self.enabled and self.data.leaves_out

    @property
    def samples(self) -> tuple[int | str, ...]:
        """Those that are left out, in the order in which they were found."""
        return tuple(self._samples)

    def begin(self, samples: Iterable[QuarantinedSample]) -> None:
        """Leave out what an earlier run found."""
        self._take(samples)

    def add(self, cause: Cause, incident: int, *, presumed: bool = False) -> None:
        """Leave out the samples that a cause blames, where the data give their indices.

        Args:
            cause: what was found.
            incident: in which.
            presumed: the state may yet turn out to be at fault instead.
        """
        new = [index for index in cause.dataset_indices if index not in self._samples]
        if not self.takes or not new:
            return
        self.log.emit(
            QuarantinedEvent(step=cause.step, update=cause.update, incident=incident, dataset_indices=tuple(new))
        )
        self._take(
            QuarantinedSample(
                index=index,
                incident=incident,
                step=cause.step,
                update=cause.update,
                batch_number=cause.batch_number,
                reason=cause.explanation,
            )
            for index in new
        )
        if presumed:
            self._presumed.update(new)

    def release(self, incident: int, seen: Observation) -> None:
        """Use the samples again that an incident has merely presumed to be at fault: something else was."""
        again = [
            index for index in self._samples if index in self._presumed and self._samples[index].incident == incident
        ]
        if not again:
            return
        for index in again:
            del self._samples[index]
        self._presumed.difference_update(again)
        shown = ", ".join(str(index) for index in again[:MOST_SHOWN]) + (" ..." if len(again) > MOST_SHOWN else "")
        rows = f"row {shown} is" if len(again) == 1 else f"rows {shown} are"
        self.log.warn(f"{rows} used again: the state or the set-up was at fault", seen.step, seen.update, spoken=False)
        self._take(())

    def state_dict(self) -> list[dict[str, Any]]:
        """The samples, as plain values."""
        return [
            sample.model_dump() | ({"presumed": True} if index in self._presumed else {})
            for index, sample in self._samples.items()
        ]

    def load_state_dict(self, samples: Sequence[dict[str, Any]]) -> None:
        """Take back what `state_dict` gave: what was found after it never happened."""
        self._samples.clear()
        self._presumed.clear()
        self._presumed.update(sample["index"] for sample in samples if sample.get("presumed"))
        self._take(
            QuarantinedSample(**{key: value for key, value in sample.items() if key != "presumed"})
            for sample in samples
        )

    def _take(self, samples: Iterable[QuarantinedSample]) -> None:
        self._samples.update((sample.index, sample) for sample in samples)
        self.data.quarantined = frozenset(self._samples)
        if self.path is None or not (self._samples or self.path.exists()):
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_quarantine(self.path, self._samples.values())
        except OSError as error:
            self.log.warn(f"{self.path.name} could not be written: {error.strerror}")
