"""What happened inside one forward and backward pass: where the first value that is not finite came from.

Modules are watched through hooks that only read, torch's functions through a mode that only reads, and the backward
pass through hooks on the nodes of the graph; none of them changes a number. Nodes and functions belong to the
innermost module whose call made them, which torch's own numbering of nodes tells.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from supervisor.diagnosis.operations import about
from supervisor.training.modules import named_modules
from supervisor.training.norms import Flaws, flaws
from supervisor.training.tree import all_tensors
from supervisor.training.user_code import frames_outwards, user_frame

__all__ = ["Call", "Operation", "Origin", "Trace"]

_NONE: Flaws = frozenset()
_FILLS = frozenset(
    {"masked_fill", "masked_fill_", "fill_", "full", "full_like", "new_full", "tensor", "where", "empty", "empty_like"}
)
"""Functions whose infinities are what the user wrote, or memory that nobody has read yet."""


@dataclass(slots=True)
class Call:
    """One call of a module.

    Attributes:
        module: qualified name, `""` for the model itself.
        first, last: the numbers of the graph's nodes made in it lie in [first, last).
        began, ended: when, in the trace's own count.
        entering, leaving: what its inputs and outputs held beside finite values.
        visible: whether a tensor was found in its outputs.
    """

    module: str
    first: int
    last: int
    began: int
    entering: Flaws
    ended: int = 0
    leaving: Flaws = _NONE
    visible: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of a function of torch.

    Attributes:
        name: the function's.
        first, last: as in `Call`.
        at: when, in the trace's own count.
        module: innermost module it ran in, None outside of every one.
        where: `file:line` in the user's code.
        detail: what its arguments show, where it made a bad value.
    """

    name: str
    first: int
    last: int
    at: int
    module: str | None
    where: str | None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something first went wrong.

    Attributes:
        module: innermost module, None outside of every one.
        operation: the function or the node of the graph, where it is known.
        where: `file:line` in the user's code, likewise.
        detail: what was measured about the function's arguments.
    """

    module: str | None
    operation: str | None = None
    where: str | None = None
    detail: str | None = None


@dataclass(slots=True)
class Trace:
    """Watches one replay.

    Infinities that the user wrote, as those of a mask, are no fault: an infinity counts from the first function on that
    made a bad value out of good ones. Where no such function was seen (compiled code), every infinity counts.

    Args:
        model: whose modules are watched.

    Attributes:
        calls: every call of a module that returned, in the order of returning.
        sources: the functions that gave a NaN or an infinity which none of their arguments held, in order.
        given: the first function that was given one before any source made one; None if none was.
    """

    model: nn.Module
    calls: list[Call] = field(default_factory=list, init=False)
    sources: list[Operation] = field(default_factory=list, init=False)
    given: Operation | None = field(default=None, init=False)
    _count: int = field(default=0, init=False)
    _open: list[Call] = field(default_factory=list, init=False)
    _operations: list[Operation] = field(default_factory=list, init=False)
    _handles: list[RemovableHandle] = field(default_factory=list, init=False)
    _culprit: Node | None = field(default=None, init=False)
    _received: Node | None = field(default=None, init=False)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Hooks on every module, and none of them afterwards."""
        try:
            for name, module in named_modules(self.model):
                self._handles.append(module.register_forward_pre_hook(self._enter(name), with_kwargs=True))
                self._handles.append(module.register_forward_hook(self._leave(name), with_kwargs=True))
            yield
        finally:
            for handle in self._handles:
                handle.remove()
            self._handles.clear()

    def loss(self, compute: Callable[[Any], Tensor]) -> Callable[[Any], Tensor]:
        """`compute`, with its functions and the backward pass that will follow it watched."""

        def watched(batch: Any) -> Tensor:
            with _Functions(self):
                loss = compute(batch)
            if isinstance(loss, Tensor) and loss.grad_fn is not None:
                self._watch_graph(loss.grad_fn)
            return loss

        return watched

    def forward_origin(self) -> Origin | None:
        """The first module, innermost first, that made bad values out of good ones; None if none did."""
        for call in self.calls:
            if self._bad(call.leaving, call.ended) and not self._bad(call.entering, call.began):
                inside = [op for op in self.sources if call.began <= op.at <= call.ended]
                own = [op for op in inside if op.module == call.module] or inside
                return _origin(call.module, own)
        return None

    def surfaced(self) -> str | None:
        """The first module that gave a bad value, whatever it was given; None if none did."""
        return next((call.module for call in self.calls if self._bad(call.leaving, call.ended)), None)

    def loss_origin(self) -> Origin:
        """Where the loss function, outside of every module, made its first bad value."""
        return _origin(None, [op for op in self.sources if op.module is None])

    def first_source(self) -> Origin | None:
        """The first function that made a bad value anywhere, even one that was mended later."""
        return _origin(self.sources[0].module, self.sources) if self.sources else None

    def backward_origin(self) -> Origin | None:
        """The first node of the backward pass that made a bad gradient out of a good one; None if none did."""
        node = self._culprit or self._received
        number = _number_of(node)
        if node is None or number is None:
            return None
        holding = [call for call in self.calls if call.first <= number < call.last]
        module = min(holding, key=lambda call: call.last - call.first).module if holding else None
        where = next((op.where for op in reversed(self._operations) if op.first <= number < op.last), None)
        return Origin(module, node.name(), where)

    def called(self, name: str, first: int, leaving: Flaws, entering: Flaws, detail: Callable[[], str | None]) -> None:
        """Note a function of torch that has just returned.

        Args:
            name: the function's.
            first: the number of the graph's first node made in it.
            leaving, entering: what its result and its arguments hold beside finite values.
            detail: measures its arguments.
        """
        module = self._open[-1].module if self._open else None
        where = user_frame(frames_outwards(sys._getframe(2)))
        made = bool(leaving - entering) and name not in _FILLS
        last, at = _next_number(), self._tick()
        operation = Operation(name, first, last, at, module, where, detail() if made else None)
        self._operations.append(operation)
        if made:
            self.sources.append(operation)
        elif "nan" in entering and self.given is None and not self.sources:
            self.given = operation

    def unexplained(self) -> Origin | None:
        """The first function that was given a NaN which none that was watched had made; None if none was."""
        return None if self.given is None else _origin(self.given.module, [self.given])

    def seen(self) -> int:
        """How many modules gave a tensor, or several, that could be looked at."""
        return len({call.module for call in self.calls if call.visible})

    def _bad(self, held: Flaws, when: int) -> bool:
        return bool(held) and ("nan" in held or not self.sources or self.sources[0].at < when)

    def _tick(self) -> int:
        self._count += 1
        return self._count

    def _enter(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            number = _next_number()
            # What is measured here is none of the user's functions.
            with torch._C.DisableTorchFunction():
                entering = flaws(all_tensors(args), all_tensors(kwargs))
            self._open.append(Call(name, number, number, self._tick(), entering))

        return hook

    def _leave(self, name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            # What stands above it raised, and was caught in the model.
            while (call := self._open.pop()).module != name:
                pass
            call.last, call.ended = _next_number(), self._tick()
            given = [*all_tensors(output)]
            call.visible = bool(given)
            with torch._C.DisableTorchFunction():
                call.leaving = flaws(given)
            self.calls.append(call)

        return hook

    def _watch_graph(self, root: Node) -> None:
        seen = {root}
        waiting = [root]
        while waiting:
            node = waiting.pop()
            self._handles.append(node.register_hook(self._node_hook(node)))
            for following, _ in node.next_functions:
                if following is not None and following not in seen:
                    seen.add(following)
                    waiting.append(following)

    def _node_hook(self, node: Node) -> Callable[[Any, Any], None]:
        def hook(leaving: Any, entering: Any) -> None:
            if self._culprit is not None or not flaws(all_tensors(leaving), all_tensors(entering)):
                return
            if not flaws(all_tensors(entering)):
                self._culprit = node
            elif self._received is None and _number_of(node) is not None:
                self._received = node

        return hook


class _Functions(TorchFunctionMode):
    """Tells a trace of every function of torch that is called from Python."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        first = _next_number()
        entering = flaws(all_tensors(args), all_tensors(kwargs))
        result = func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name not in ("__get__", "__set__"):
            literal = any(isinstance(value, float) and value - value != 0 for value in (*args, *kwargs.values()))
            leaving = _NONE if literal else flaws(all_tensors(result))
            self._trace.called(name, first, leaving, entering, lambda: about(name, args, kwargs, entering))
        return result


def _origin(module: str | None, operations: list[Operation]) -> Origin:
    first = operations[0] if operations else None
    return Origin(module) if first is None else Origin(module, first.name, first.where, first.detail)


def _next_number() -> int:
    """The number that the next node of a graph gets in this thread."""
    number: int = torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]
    return number


def _number_of(node: Node | None) -> int | None:
    """The number a node got, None for the leaves of a graph, which have none."""
    if node is None or hasattr(node, "variable"):
        return None
    number: int = node._sequence_nr()
    return number
