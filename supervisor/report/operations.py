"""What is known to give values that are not finite, by operation, and what to do about it."""

from __future__ import annotations

import re

__all__ = ["mend", "plain_name"]

_ABOVE_ZERO = "keep its argument above zero: `torch.log(x.clamp_min(1e-8))`, or `log_softmax`, `logsigmoid`, `xlogy`"
_DIVISOR = "keep the divisor away from zero: add a small number, or divide by `x.clamp_min(1e-8)`"
_INSIDE = "keep its argument inside -1 and 1: clamp it"
_LARGEST = "subtract the largest value before it, or use `logsumexp`, `softmax`, `softplus`"
_ROWS = "give every row at least one entry that is not masked: a row of -inf alone has no softmax"
_SPREAD = "its slope is not a number where all values are equal: take the root of the variance plus a small number"
_ROOT = "add a small number under the root, `torch.sqrt(x + 1e-8)`: its slope at zero is infinite"
_ROOT_OF_SUM = "add a small number under the root: the slope of a norm at zero is not a number"
_ONE_ELEMENT = "give it two elements or more, or `correction=0`"
_EMPTY = "skip it where nothing is left to reduce: the mean of no elements is not a number"
_PER_CLASS = (
    "give it at least one target that counts: leave out batches without one, or sum the losses and divide by the "
    "number of targets, clamped to one"
)
_MATCHING = "leave out, or shorten, targets that need more steps than their input has, or pass `zero_infinity=True`"
_LOGITS = "look at what makes its inputs infinite"

_KNOWN: dict[str, tuple[tuple[str, str], ...]] = {
    **dict.fromkeys(("log", "log2", "log10", "log1p", "xlogy"), (("", _ABOVE_ZERO),)),
    "sqrt": (("negative", "keep its argument at zero or above: clamp it"), ("", _ROOT)),
    "rsqrt": (("", "keep its argument above zero: add a small number to it"),),
    **dict.fromkeys(("norm", "vectornorm", "linalgvectornorm", "cdist"), (("", _ROOT_OF_SUM),)),
    **dict.fromkeys(("pow", "floatpower"), (("", "keep its base away from zero where the exponent is below one"),)),
    **dict.fromkeys(
        ("div", "divide", "truedivide", "truediv", "rdiv", "rtruediv", "reciprocal", "fmod", "remainder"),
        (("", _DIVISOR),),
    ),
    **dict.fromkeys(("exp", "expm1", "exp2", "sinh", "cosh"), (("", _LARGEST),)),
    **dict.fromkeys(("softmax", "logsoftmax", "softmin"), (("-inf alone", _ROWS), ("inf", _LOGITS), ("", _ROWS))),
    "where": (
        ("", "`where` differentiates both sides: replace the forbidden values before the operation, not after it"),
    ),
    **dict.fromkeys(("acos", "asin", "arccos", "arcsin", "atanh"), (("", _INSIDE),)),
    **dict.fromkeys(("std", "var", "stdmean", "varmean"), (("single", _ONE_ELEMENT), ("", _SPREAD))),
    **dict.fromkeys(
        ("crossentropy", "nllloss"),
        (
            ("ignored", _PER_CLASS),
            ("without elements", _PER_CLASS),
            ("weights", "give at least one class that occurs a weight above zero"),
            ("inf", _LOGITS),
        ),
    ),
    "ctcloss": (("steps for its target", _MATCHING), ("inf", _LOGITS)),
    "kldiv": (("inf", "its input is log-probabilities: clamp them, or take them from `log_softmax`"),),
}
"""For each operation what to do, by a word of what was measured about its arguments; an empty one fits everything."""


def mend(operation: str | None, detail: str | None) -> str | None:
    """What to do about an operation that made a bad value; None where that is not known.

    Args:
        operation: a function of torch, or a node of the graph of its backward pass.
        detail: what was measured about its arguments.
    """
    told = detail or ""
    by_operation = next((text for word, text in _KNOWN.get(plain_name(operation or ""), ()) if word in told), None)
    return _EMPTY if by_operation is None and "without elements" in told else by_operation


def plain_name(operation: str) -> str:
    """`SqrtBackward0`, `sqrt_` and `__sqrt__` are `sqrt`; a name that merely contains another's is another's."""
    return re.sub(r"backward\d*$", "", operation.lower()).replace("_", "")
