"""Several optimizers of one loss, taken for one."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from supervisor.errors import InputError, with_article

__all__ = ["AnyOptimizer", "ChainedOptimizer", "chained", "members"]


class ChainedOptimizer:
    """Optimizers that step one after the other, each with the parameters it holds.

    Args:
        optimizers: two or more; no parameter is in two of them.

    Raises:
        InputError: two of them hold the same parameter, or one stands in the list twice.
    """

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        self.optimizers = tuple(optimizers)
        self.state = _RoutedState(self.optimizers)
        owners: dict[Tensor, int] = {}
        for number, each in enumerate(self.optimizers):
            for group in each.param_groups:
                for parameter in group["params"]:
                    other = owners.setdefault(parameter, number)
                    if other != number:
                        shape = tuple(parameter.shape)
                        raise InputError(
                            f"optimizer: {other} and {number} hold the same parameter of shape {shape}: "
                            "give each parameter to one of them"
                        )

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all of them, in order; the very dicts, so that a change to one takes effect."""
        return [group for each in self.optimizers for group in each.param_groups]

    def step(self) -> None:
        """One step of each."""
        for each in self.optimizers:
            each.step()


AnyOptimizer = Optimizer | ChainedOptimizer


class _RoutedState(MutableMapping[Any, Any]):
    """The states of several optimizers by parameter; what is written goes to the one that holds the parameter.

    What one of them keeps under a key of its own is under the tuple of its place and that key, since two of a kind
    have the same keys.
    """

    def __init__(self, optimizers: tuple[Optimizer, ...]) -> None:
        self._optimizers = optimizers

    def __getitem__(self, key: Any) -> Any:
        held, own = self._held(key)
        if own not in held:
            # Asked itself, it would make an empty one.
            raise KeyError(key)
        return held[own]

    def __setitem__(self, key: Any, value: Any) -> None:
        held, own = self._held(key)
        held[own] = value

    def __delitem__(self, key: Any) -> None:
        held, own = self._held(key)
        del held[own]

    def __iter__(self) -> Iterator[Any]:
        for number, each in enumerate(self._optimizers):
            for key in each.state:
                yield key if isinstance(key, Tensor) else (number, key)

    def __len__(self) -> int:
        return sum(len(each.state) for each in self._optimizers)

    def _held(self, key: Any) -> tuple[MutableMapping[Any, Any], Any]:
        """The state that has a key, or is to have it, and what it calls it."""
        if not isinstance(key, Tensor):
            number, own = key
            return self._optimizers[number].state, own
        for each in self._optimizers:
            if key in each.state:
                return each.state, key
        for each in self._optimizers:
            if any(key is held for group in each.param_groups for held in group["params"]):
                return each.state, key
        raise KeyError(key)


def chained(optimizer: Optimizer | Sequence[Optimizer] | ChainedOptimizer) -> AnyOptimizer:
    """What the guard steps: the optimizer itself, or several as one.

    Raises:
        InputError: there is none, one of them is something else, or two hold the same parameter.
    """
    if isinstance(optimizer, (Optimizer, ChainedOptimizer)):
        return optimizer
    several = tuple(optimizer) if isinstance(optimizer, (list, tuple)) else (optimizer,)
    if not several:
        raise InputError("optimizer: an empty list: give one optimizer or more")
    for each in several:
        if not isinstance(each, Optimizer):
            what = f"optimizer: {with_article(each)} is no torch.optim.Optimizer"
            raise InputError(f"{what}: give an optimizer, or a list of optimizers")
    return several[0] if len(several) == 1 else ChainedOptimizer(several)


def members(optimizer: AnyOptimizer) -> tuple[Optimizer, ...]:
    """The optimizers that `optimizer` consists of."""
    return optimizer.optimizers if isinstance(optimizer, ChainedOptimizer) else (optimizer,)
