"""One pass over the data: each row is read and looked at once."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from supervisor.preflight.columns import Outlier, TensorColumns
from supervisor.preflight.reading import BatchReader, Read, RowName, RowReader
from supervisor.preflight.report import BadRow, DataCheck, RowFault
from supervisor.training.norms import can_rot
from supervisor.training.tree import tensors
from supervisor.training.user_code import user_frame
from supervisor.update.wrong_loss import LossError, said_of

__all__ = ["DataPass", "told"]

USUAL = 0.5
"""Where more rows than this share hold values that are not finite in one tensor (a mask of -inf), it is meant so."""
MOST_NAMED = 100_000
"""Bad rows that are remembered."""
LONGEST = 300
"""Characters of an exception's text."""


class DataPass:
    """Looks at the rows that a reader gives.

    Args:
        reader: reads them.
        shown: called with the number of rows or batches looked at so far.
    """

    def __init__(self, reader: RowReader | BatchReader, shown: Callable[[int], object] = lambda done: None) -> None:
        self._reader = reader
        self._shown = shown
        self._columns: dict[str, TensorColumns] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._varying: set[str] = set()
        self._not_finite: dict[RowName, list[tuple[str, str]]] = {}
        self._share_bad: Counter[str] = Counter()
        self._raised: list[BadRow] = []
        self._done = self._rows = 0

    def run(self, most: int | None) -> DataCheck:
        """Look at so many rows, at all of them with None."""
        for read in self._reader.read(most):
            self._look(read)
            self._rows += len(read.rows)
            self._done += len(read.rows) if self._reader.unit == "rows" else 1
            self._shown(self._done)
        usual = [self._often_not_finite(name) for name in self._share_bad if self._is_usual(name)]
        bad = [*self._raised, *self._bad_values()]
        known = {_name_of(row) for row in bad}
        for name, columns in self._columns.items():
            found, count = columns.outliers()
            if count and not found:
                usual.append(
                    f"{_tensor(name)}: {count:,} rows hold values far outside of their column: so many are how the "
                    "data are, and none is named"
                )
            bad += [_outside(name, each) for each in found if each.row not in known]
            known.update(_name_of(row) for row in bad)
        if self._reader.ended_by is not None:
            usual.append(
                f"the data ended with {told(self._reader.ended_by)}: what comes behind was not looked at, and a run "
                "ends there if it comes again"
            )
        sizes = self._reader.batch_sizes
        order = sorted(bad[:MOST_NAMED], key=lambda row: (row.batch or 0, row.position or 0, str(row.index).zfill(20)))
        return DataCheck(
            unit=self._reader.unit,
            total=self._reader.total,
            read=self._done,
            complete=self._reader.complete,
            enough=self._reader.enough,
            rows=self._rows,
            bad_rows=tuple(order),
            usual=tuple(usual),
            smallest_batch=None if len(sizes) < 2 else min(sizes),
            largest_batch=max(sizes, default=None),
        )

    def _look(self, read: Read) -> None:
        if read.error is not None:
            self._raised += [_bad(RowFault.RAISES, row, told(read.error)) for row in read.rows]
            return
        for name, tensor in tensors(read.batch):
            # Floats of one byte know no NaN, or torch cannot ask them for it.
            if can_rot(tensor) and tensor.layout is torch.strided and tensor.element_size() > 1:
                self._look_at(name, tensor, read)

    def _look_at(self, name: str, tensor: Tensor, read: Read) -> None:
        apart = read.apart and tensor.dim() > 0
        rows = tensor.detach() if apart else tensor.detach().reshape(1, -1)
        finite = torch.isfinite(rows).reshape(len(rows), -1).all(1).cpu()
        if not bool(finite.all()):
            for position in (~finite).nonzero().flatten().tolist():
                self._share_bad[name] += 1
                if len(self._not_finite) < MOST_NAMED:
                    row = read.rows[position] if apart else read.rows[0]
                    self._not_finite.setdefault(row, []).append((name, _first_bad(rows[position])))
            rows = rows[finite.to(rows.device)]
        if not apart or not tensor.is_floating_point():
            return
        shape = tuple(rows.shape[1:])
        if self._shapes.setdefault(name, shape) != shape:
            # Sequences padded to the longest of their batch have no columns in common.
            self._varying.add(name)
            self._columns.pop(name, None)
        if name not in self._varying:
            places = [int(each) for each in finite.nonzero().flatten().tolist()]
            self._columns.setdefault(name, TensorColumns()).add(rows, [read.rows[at] for at in places])

    def _is_usual(self, name: str) -> bool:
        return self._share_bad[name] > USUAL * self._rows

    def _often_not_finite(self, name: str) -> str:
        return (
            f"{_tensor(name)}: {self._share_bad[name]:,} of {self._rows:,} rows are not finite: so many are how the "
            "data are, and none is named"
        )

    def _bad_values(self) -> list[BadRow]:
        found = []
        for row, held in self._not_finite.items():
            told = [f"{_tensor(name)}: {what}" for name, what in held if not self._is_usual(name)]
            if told:
                found.append(_bad(RowFault.NOT_FINITE, row, "; ".join(told)))
        return found


def told(error: BaseException) -> str:
    """The class and the first line of an exception, with the line of the user's code that it comes from."""
    frames = [(each.filename, each.lineno) for each in traceback.extract_tb(error.__traceback__)][::-1]
    where = user_frame(frames) or (error.where if isinstance(error, LossError) else None)
    said = said_of(error).splitlines()[0][:LONGEST]
    return f"{said} ({where})" if where else said


def _bad(fault: RowFault, row: RowName, what: str) -> BadRow:
    return BadRow(fault=fault, index=row.index, batch=row.batch, position=row.position, what=what)


def _name_of(row: BadRow) -> RowName:
    return RowName(row.index, row.batch, row.position)


def _tensor(name: str) -> str:
    return f"tensor {name}" if name else "the tensor"


def _first_bad(row: Tensor) -> str:
    flat = row.reshape(-1)
    places = (~torch.isfinite(flat)).nonzero().flatten()
    first = int(places[0])
    more = f" and {len(places) - 1:,} more" if len(places) > 1 else ""
    return f"{float(flat[first].real)} in column {first}{more}" if flat.numel() > 1 else f"{float(flat[first].real)}"


def _outside(name: str, found: Outlier) -> BadRow:
    known: Any = found.known
    column = "" if found.column is None else f", column {found.column}"
    what = (
        f"{_tensor(name)}{column}: {found.value:.4g}, where the median is {known.median:.4g} and values beyond "
        f"{known.limit():.3g} from it are far outside"
    )
    row = found.row
    assert isinstance(row, RowName)
    return _bad(RowFault.FAR_OUTSIDE, row, what)
