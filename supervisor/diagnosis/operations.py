"""What can be measured about a function of torch that has just made a value that is not finite: its arguments."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from supervisor.training.norms import Flaws, can_rot, dense
from supervisor.training.tree import all_tensors

__all__ = ["about"]


def about(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], entering: Flaws) -> str | None:
    """What its arguments have in common with those that are known to give such values; None where nothing shows.

    Args:
        name: the function's.
        args, kwargs: its arguments, as they are after the call.
        entering: what they hold beside finite values.
    """
    if name.endswith("_") and not name.endswith("__"):
        # It has written over what it was given.
        return None
    # Whatever cannot be read, as inside of a transform, is not known; the replay must not fail for it.
    with contextlib.suppress(Exception), torch.no_grad():
        if any(tensor.numel() == 0 for tensor in all_tensors([*args, *kwargs.values()])):
            return "it is given a tensor without elements"
        look = _KNOWN.get(name.strip("_"))
        found = None if look is None else look(args, kwargs)
        if found is None and entering:
            return f"among its arguments is {' and '.join(sorted(entering))}"
        return found or _largest(args, kwargs)
    return None


_Look = Callable[[Sequence[Any], Mapping[str, Any]], str | None]


def _argument(args: Sequence[Any], kwargs: Mapping[str, Any], place: int, *names: str, default: Any = None) -> Any:
    if len(args) > place:
        return args[place]
    return next((kwargs[name] for name in names if name in kwargs), default)


def _as_tensor(value: Any) -> Tensor:
    # A tensor stays where it is: under another default device torch would move it there.
    return value if isinstance(value, Tensor) else torch.as_tensor(value, device="cpu")


def _where(what: str, place: int, *tests: tuple[Callable[[Tensor], Tensor], str]) -> _Look:
    """Counts the elements of one argument that a test is true of."""

    def look(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
        values = _as_tensor(_argument(args, kwargs, place, "input", "other", "self"))
        counted = [(int(test(values).sum()), how) for test, how in tests]
        shown = [f"{how} in {count} of {values.numel()} elements" for count, how in counted if count]
        return f"{what} is {' and '.join(shown)}" if shown else None

    return look


def _largest(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    held = [dense(tensor) for tensor in all_tensors([*args, *kwargs.values()]) if can_rot(tensor)]
    if not held:
        return None
    size, dtype = max((float(values.abs().max()), str(values.dtype)) for values in held)
    return f"the largest number that it is given is {size:.3g}, in {dtype.removeprefix('torch.')}"


def _rows_of_nothing(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    values, dim = args[0], _argument(args, kwargs, 1, "dim")
    if dim is None:
        return None
    empty = (values == -math.inf).all(dim)
    return f"{int(empty.sum())} of its {empty.numel()} rows hold -inf alone" if bool(empty.any()) else None


def _targets(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    values, target = args[0], _argument(args, kwargs, 1, "target")
    if target.is_floating_point():
        return None
    ignored = _argument(args, kwargs, 4, "ignore_index", default=-100)
    count = target.numel()
    counting = target[target != ignored]
    if len(counting) == 0:
        return f"all {count} targets are the ignored {ignored}"
    weight = _argument(args, kwargs, 2, "weight")
    if weight is not None and float(weight[counting].sum()) == 0:
        return f"the weights of its {count} targets sum to zero"
    infinite = int(torch.isinf(values).sum())
    return f"{infinite} of its {values.numel()} inputs are infinite" if infinite else None


def _too_long(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Targets of a connectionist loss that need more steps than there are: one each, one more between two alike."""
    targets, inputs, lengths = (_as_tensor(_argument(args, kwargs, at, name)).tolist() for at, name in _CTC)
    inputs, lengths = ([each] if isinstance(each, int) else each for each in (inputs, lengths))
    padded = len(targets) == len(lengths) and isinstance(targets[0], list)
    found, start = [], 0
    for sample, (steps, length) in enumerate(zip(inputs, lengths, strict=True)):
        target = targets[sample][:length] if padded else targets[start : start + length]
        start += length
        needed = length + sum(one == other for one, other in itertools.pairwise(target))
        if needed > steps:
            found.append(f"sample {sample} needs {needed} steps for its target and has {steps}")
    more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
    return f"{', '.join(found[:3])}{more}" if found else None


_CTC = ((1, "targets"), (2, "input_lengths"), (3, "target_lengths"))


def _few(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    return "it is given a single element" if args[0].numel() == 1 else None


def _array(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    held = args[0]
    bad = isinstance(held, (np.ndarray, float, list, tuple)) and not bool(np.isfinite(np.asarray(held)).all())
    return "what it is given holds values that are not finite" if bad else None


def _powers(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    base, exponent = _as_tensor(args[0]), _as_tensor(_argument(args, kwargs, 1, "exponent", "other"))
    zero, below = (base == 0) & (exponent < 0), (base < 0) & (exponent != exponent.round())
    shown = ["zero with a negative exponent"] if bool(zero.any()) else []
    shown += ["negative with a fraction as exponent"] if bool(below.any()) else []
    return f"its base is {' and '.join(shown)} in {int((zero | below).sum())} elements" if shown else None


_ZERO = (lambda x: x == 0, "zero")
_NEGATIVE = (lambda x: x < 0, "negative")
_logarithm = _where("its argument", 0, _ZERO, _NEGATIVE)
_divisor = _where("its divisor", 1, _ZERO)
_own_divisor = _where("its divisor", 0, _ZERO)
_arc = _where("its argument", 0, (lambda x: x.abs() > 1, "beyond -1 and 1"))
_KNOWN: dict[str, _Look] = {
    **dict.fromkeys(("log", "log2", "log10"), _logarithm),
    "log1p": _where("its argument", 0, (lambda x: x <= -1, "-1 or less")),
    "xlogy": _where("its second argument", 1, _ZERO, _NEGATIVE),
    "sqrt": _where("its argument", 0, _NEGATIVE),
    "rsqrt": _logarithm,
    **dict.fromkeys(("div", "divide", "true_divide", "truediv", "fmod", "remainder"), _divisor),
    **dict.fromkeys(("reciprocal", "rdiv", "rtruediv"), _own_divisor),
    **dict.fromkeys(("acos", "asin", "arccos", "arcsin"), _arc),
    "atanh": _where("its argument", 0, (lambda x: x.abs() >= 1, "-1 or 1, or beyond")),
    "acosh": _where("its argument", 0, (lambda x: x < 1, "below 1")),
    **dict.fromkeys(("pow", "float_power"), _powers),
    **dict.fromkeys(("softmax", "log_softmax", "softmin"), _rows_of_nothing),
    **dict.fromkeys(("cross_entropy", "nll_loss"), _targets),
    "ctc_loss": _too_long,
    **dict.fromkeys(("std", "var", "std_mean", "var_mean"), _few),
    "as_tensor": _array,
}
