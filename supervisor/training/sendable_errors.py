"""Exceptions that a loader's process cannot send: torch would wait for ever for the batch that they stand for."""

from __future__ import annotations

import functools
import pickle
from typing import Any

from torch.utils.data import get_worker_info
from torch.utils.data._utils import fetch

from supervisor.errors import said_by

__all__ = ["send_every_error"]


def send_every_error() -> None:
    """Have the processes of torch's loaders raise a `RuntimeError` for an exception whose class cannot be pickled.

    Such are classes that are made as they are needed, as clients of object stores do it. It changes torch for the whole
    process, so that it is for one that the supervisor has started.
    """
    kinds: Any = (fetch._MapDatasetFetcher, fetch._IterableDatasetFetcher)
    for kind in kinds:
        kind.fetch = _sendable(kind.fetch)


def _sendable(original: Any) -> Any:
    if hasattr(original, "__sendable__"):
        return original

    @functools.wraps(original)
    def fetch_rows(self: Any, index: Any) -> Any:
        try:
            return original(self, index)
        except StopIteration:
            raise
        except Exception as error:
            if get_worker_info() is None or _can_be_sent(type(error)):
                raise
            raise RuntimeError(said_by(error)) from error

    fetch_rows.__sendable__ = True  # type: ignore[attr-defined]
    return fetch_rows


def _can_be_sent(kind: type[Exception]) -> bool:
    try:
        pickle.dumps(kind)
    except Exception:  # noqa: BLE001  (whatever the class makes of it)
        return False
    return True
