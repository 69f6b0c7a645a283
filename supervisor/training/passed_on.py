"""Hands on what another iterator gives, each batch changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from supervisor.training.end_of_data import END, draw

__all__ = ["PassedOn", "source_of"]


class PassedOn(Iterator[Any]):
    """An iterator over the batches of another, each changed.

    After an exception it goes on where the other one does. A generator in its place would have ended with it, so that
    a row that raises could not be left out.

    Args:
        source: gives the batches.
        change: gives what a batch is handed on as; called once a batch.
    """

    def __init__(self, source: Iterator[Any], change: Callable[[Any], Any]) -> None:
        self.source = source
        self._change = change

    def __next__(self) -> Any:
        # Not by `next`, which would take a row's StopIteration for the end.
        batch = draw(self.source)
        if batch is END:
            raise StopIteration
        return self._change(batch)


def source_of(iterator: Iterator[Any]) -> Iterator[Any]:
    """What an iterator hands on the batches of; itself where it makes them."""
    while isinstance(iterator, PassedOn):
        iterator = iterator.source
    return iterator
