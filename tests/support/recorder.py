"""A stand-in for any part: it keeps what it is asked, in one list with the others, and answers as it was told."""

from __future__ import annotations

import inspect
from collections import defaultdict
from typing import Any

__all__ = ["Calls", "Recorder"]


class Calls(list[str]):
    """What several parts were asked, in order, as `part.verb`.

    Attributes:
        given: by `part.verb`, the arguments of each call, those by name after the others.
    """

    def __init__(self) -> None:
        super().__init__()
        self.given: defaultdict[str, list[tuple[Any, ...]]] = defaultdict(list)


class Recorder:
    """Stands for a part of a class, and refuses what that class does not offer, or not with these arguments.

    Args:
        kind: the class, or the protocol.
        name: the part's, in `calls`.
        calls: where it writes down what it is asked.
        answers: by verb what it answers: a value, a function of the arguments, or an exception to raise; by attribute
            its value.
    """

    def __init__(self, kind: type, name: str, calls: Calls, /, **answers: Any) -> None:
        self._kind = kind
        self._name = name
        self._calls = calls
        self._answers = answers

    def __getattr__(self, verb: str) -> Any:
        if verb.startswith("__"):
            raise AttributeError(verb)
        method, answer = getattr(self._kind, verb, None), self._answers.get(verb)
        if not callable(method):
            if verb not in self._answers:
                raise AttributeError(f"{self._kind.__name__}: nobody said what its {verb} is")
            return answer

        def asked(*args: Any, **named: Any) -> Any:
            inspect.signature(method).bind(self, *args, **named)
            what = f"{self._name}.{verb}"
            self._calls.append(what)
            self._calls.given[what].append((*args, *named.values()))
            if isinstance(answer, BaseException):
                raise answer
            return answer(*args, **named) if callable(answer) else answer

        return asked
