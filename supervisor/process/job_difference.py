"""In which value two jobs differ, told in one line."""

from __future__ import annotations

from collections.abc import Callable

from supervisor.config.origins import one_line

__all__ = ["difference"]

_NOT_SET = "not set"

_Found = tuple[object] | None
"""A value, which may be None itself; None where nothing is set."""


def difference(key: str, old: object, new: object, in_whole: Callable[[str, object], object]) -> str:
    """Which value differs, and how: `config.width (64, now 32)`; of one that is not set, what holds instead.

    Args:
        key: of the job.
        old: what the run was started with.
        new: another value.
        in_whole: `(key, value)` -> the value with all that is filled in where it says nothing; only asked where one of
            the two lacks a key, since it may take seconds.
    """
    path, *found = _first_difference((), old, new)
    told = [_NOT_SET if each is None else str(each[0]) for each in found]
    for index, whole in enumerate((old, new)):
        default = _at(path, in_whole(key, whole)) if found[index] is None else None
        # Where the other says the same, what is written differs, and nothing else.
        if default is not None and str(default[0]) != told[1 - index]:
            told[index] = f"{default[0]}, the default"
    return one_line(f"{'.'.join((key, *path))} ({told[0]}, now {told[1]})")


def _first_difference(path: tuple[str, ...], old: object, new: object) -> tuple[tuple[str, ...], _Found, _Found]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in (*old, *new):
            before, now = _at((name,), old), _at((name,), new)
            if before is None or now is None:
                return (*path, str(name)), before, now
            if before != now:
                return _first_difference((*path, str(name)), before[0], now[0])
    return path, (old,), (new,)


def _at(path: tuple[object, ...], values: object) -> _Found:
    for name in path:
        if not isinstance(values, dict) or name not in values:
            return None
        values = values[name]
    return (values,)
