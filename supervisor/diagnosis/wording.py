"""The sentences of a diagnosis: each says what was measured, and no more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from supervisor.diagnosis.trace import Origin
from supervisor.records import Signal

__all__ = ["activation", "compared", "hidden", "large", "loss", "place", "which"]

MOST_SAMPLES = 5
"""How many samples are named."""


def place(origin: Origin) -> str:
    """The function and the line of an origin, and what its arguments showed, as far as they are known."""
    what = f", in {origin.operation}" if origin.operation else ""
    what += f" at {origin.where}" if origin.where else ""
    return what + (f": {origin.detail}" if origin.detail else "")


def activation(module: str, origin: Origin, unexplained: Origin | None) -> str:
    """A module gave what is not finite, and nothing bad was seen among its inputs.

    Args:
        module: the module.
        origin: where in it.
        unexplained: the first function that was given a NaN of unknown making.
    """
    if origin.operation is None and unexplained is not None:
        given = (
            f"a NaN is given to {unexplained.operation or 'a function'}{_line(unexplained)}, made by nothing watched"
        )
        return f"{module} gives values that are not finite, and none was seen in its inputs: {given}"
    if origin.operation is None:
        return f"{module} gives values that are not finite, and none was seen in its inputs"
    return f"{module} makes values that are not finite out of finite ones{place(origin)}"


def loss(origin: Origin, seen: int, surfaced: str | None, unexplained: Origin | None, unread: Sequence[str]) -> str:
    """The loss is not finite, and no module was seen to make that out of finite inputs.

    Args:
        origin: where the loss function, outside of every module, made its first bad value.
        seen: how many modules' outputs were looked at.
        surfaced: the first module that gave a bad value, None where none did.
        unexplained: the first function that was given a NaN of unknown making.
        unread: classes in the batch that were not looked into.
    """
    if surfaced is not None:
        what = f"the loss is not finite, and {surfaced} was given values already that are not"
    elif seen:
        outputs = "the output of the one module that was watched" if seen == 1 else f"the outputs of the {seen} modules"
        what = (
            f"the loss is not finite, and nothing bad was seen in {outputs}{'' if seen == 1 else ' that were watched'}"
        )
    else:
        what = "the loss is not finite; no module's output was seen"
    if origin.operation is not None:
        return f"{what}: the loss function makes the first{place(origin)}"
    if unexplained is not None:
        what += (
            f": a NaN is given to {unexplained.operation or 'a function'}{_line(unexplained)}, made by nothing watched"
        )
    return what + (f"; the batch holds {', '.join(unread)}, which was not looked into" if unread else "")


def hidden(names: Sequence[str]) -> str:
    """The step is healthy once zeros stand for what is not finite in plain attributes."""
    which = (
        f"{_some(names)}, a plain attribute of a module," if len(names) == 1 else f"{_some(names)}, plain attributes,"
    )
    verb, its = ("is", "its") if len(names) == 1 else ("are", "their")
    return (
        f"the loss depends on something that no state holds: {which} {verb} not finite, and with zeros in the place of "
        f"{its} bad values the step is healthy"
    )


def compared(healthy: bool) -> str:
    """What an earlier, healthy batch is in the state of this step."""
    how = "healthy in this state too" if healthy else "not so in this state either"
    return f"a batch that was healthy before is {how}"


def large(signals: Sequence[Signal], name: str, squares: Mapping[str, float]) -> str:
    """Loss and gradients are finite, and the step was flagged.

    Args:
        signals: what flagged it.
        name: the parameter with the largest gradient.
        squares: the squared norm of each gradient.
    """
    flagged = ", ".join(signal.name for signal in signals) or "nothing"
    total = math.fsum(squares.values())
    if total <= 0:
        return f"loss and gradients are finite, and every gradient is zero; what flagged the step is {flagged}"
    share = f"{squares[name] / total:.0%} of the squared norm {math.sqrt(total):.3g}"
    return f"loss and gradients are finite; what flagged the step is {flagged}: {name} carries {share} of the gradients"


def _line(origin: Origin) -> str:
    return f" at {origin.where}" if origin.where else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def which(samples: Sequence[int]) -> str:
    """The first of these samples of a batch, by their positions."""
    shown = ", ".join(str(sample) for sample in samples[:MOST_SAMPLES])
    more = " ..." if len(samples) > MOST_SAMPLES else ""
    return f"sample{'' if len(samples) == 1 else 's'} {shown}{more} of the batch"
