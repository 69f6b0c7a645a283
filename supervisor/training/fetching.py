"""Has torch's loaders raise what a row raised so that whoever draws the batch hears of it."""

from __future__ import annotations

import functools
import pickle
from typing import Any

from torch.utils.data import get_worker_info
from torch.utils.data._utils import fetch

from supervisor.errors import said_by
from supervisor.training.end_of_data import not_the_end

__all__ = ["tell_what_rows_raise"]

_TELLS = "__tells__"


def tell_what_rows_raise() -> None:
    """Change two kinds of exceptions of rows, which torch's loaders would swallow.

    A `StopIteration` becomes a `NotTheEnd`: a loop of the user's own around a loader would take it for the end. In a
    loader's process one whose class cannot be pickled becomes a `RuntimeError`, since torch would wait for ever for
    the batch: such are classes that are made as they are needed, as clients of object stores do it.

    It changes torch for the whole process, once, so that it is for one that the supervisor has started.
    """
    _change(fetch._MapDatasetFetcher, ends_by_raising=False)
    _change(fetch._IterableDatasetFetcher, ends_by_raising=True)


def _change(kind: Any, *, ends_by_raising: bool) -> None:
    original = kind.fetch
    if hasattr(original, _TELLS):
        return

    @functools.wraps(original)
    def fetch_rows(self: Any, index: Any) -> Any:
        try:
            return original(self, index)
        except StopIteration as stopped:
            if ends_by_raising:
                raise
            raise not_the_end(stopped) from stopped
        except Exception as error:
            if get_worker_info() is None or _can_be_sent(type(error)):
                raise
            raise RuntimeError(said_by(error)) from error

    setattr(fetch_rows, _TELLS, True)
    kind.fetch = fetch_rows


def _can_be_sent(kind: type[Exception]) -> bool:
    try:
        pickle.dumps(kind)
    except Exception:  # noqa: BLE001  (whatever the class makes of it)
        return False
    return True
