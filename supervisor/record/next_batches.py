"""Whether the data come again after a resume: what followed each checkpoint is noted, and compared."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from supervisor.events.writer import EventLog
from supervisor.run_layout import replace_file
from supervisor.training.data_position import DataPosition
from supervisor.training.fingerprint import content_of, rows_of

__all__ = ["NextBatches"]

MOST_KEPT = 64
"""Of how many checkpoints it is noted: more than a run keeps."""


class _Batch(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)

    content: str
    rows: str | None = None


class _Noted(BaseModel):
    model_config = ConfigDict(strict=True)

    after_update: dict[str, _Batch] = {}


class NextBatches:
    """Notes a hash of the batch that is drawn next after each checkpoint, and compares it where a run goes on.

    The batch is not known when the checkpoint is written, and drawing it ahead would change the order in which a
    healthy run draws its random numbers; so it stands in a file beside them. None of this may end a run: what cannot
    be hashed, written or read is not compared.

    Args:
        path: `RUN_DIR/next_batches.json`; None: nothing is noted.
        data: where the data stand.
        log: hears of data that do not come again.
    """

    def __init__(self, path: Path | None, data: DataPosition, log: EventLog) -> None:
        self._path = path
        self._data = data
        self._log = log
        self._noted = _Noted()
        if path is not None:
            with contextlib.suppress(OSError, ValidationError):
                self._noted = _Noted.model_validate_json(path.read_bytes())

    def follows(self, update: int) -> None:
        """A checkpoint is being written: note what is drawn next.

        Args:
            update: updates attempted until then.
        """
        if self._path is not None:
            self._data.tell_of_next(partial(self._note, update))

    def expect(self, step: int, update: int) -> None:
        """The run goes on from the checkpoint of this step and update: compare what is drawn next."""
        known = self._noted.after_update.get(str(update))
        if known is not None:
            self._data.tell_of_next(partial(self._compare, known, step, update))
            return
        if self._data.once_alone and update:
            self._say(
                "what it gave before does not come again, and it goes on with whatever it gives now", step, update
            )
        self.follows(update)

    def _note(self, update: int, batch: Any, indices: list[Any] | None) -> None:
        with contextlib.suppress(Exception):
            # Written anew at its end, so that the oldest are the first.
            kept = {key: value for key, value in self._noted.after_update.items() if key != str(update)}
            kept[str(update)] = _Batch(content=content_of(batch), rows=rows_of(indices))
            self._noted.after_update = dict([*kept.items()][-MOST_KEPT:])
            if self._path is not None:
                replace_file(self._path, self._noted.model_dump_json())

    def _compare(self, known: _Batch, step: int, update: int, batch: Any, indices: list[Any] | None) -> None:
        with contextlib.suppress(Exception):
            content, rows = content_of(batch), rows_of(indices)
            if content != known.content:
                what = "the batch that follows is another one than before the resume, which is not exact from here on"
                self._say(what, step, update, same_rows=rows is not None and rows == known.rows)

    def _say(self, what: str, step: int, update: int, *, same_rows: bool = False) -> None:
        mend = self._data.why_not_again(same_rows=same_rows)
        # It belongs to the last update that the checkpoint holds, so that a later resume keeps the line.
        self._log.warn(f"data: {what}: {mend}", step, update - 1 if update else None)
