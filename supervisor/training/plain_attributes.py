"""What modules keep in plain Python attributes: no state holds it, and a pass may read what an earlier one has left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from supervisor.training.containers import entries, is_record
from supervisor.training.modules import buffers_of, named_modules, with_extra_state
from supervisor.training.norms import can_rot, flaws
from supervisor.training.tree import all_tensors, mapped

__all__ = ["PlainAttributes"]

_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_MISSING = object()


@dataclass(slots=True)
class _Held:
    """One attribute as it was.

    Attributes:
        value: itself.
        copy: itself in containers of its own, with its own tensors.
        tensors: its tensors, how often each had been written to, and what it held.
    """

    value: Any
    copy: Any
    tensors: list[tuple[Tensor, int, Tensor]]


class PlainAttributes:
    """The plain attributes of a model's modules at one moment, put back as often as need be.

    Parameters and buffers under a second name do not count, nor do modules with a `get_extra_state` of their own, whose
    attributes may be registered. Of torch's own modules only tensors are looked at.

    Args:
        model: whose modules.
        registered: tensors that some state holds, beside the model's parameters and buffers.
    """

    def __init__(self, model: nn.Module, registered: Iterable[Tensor] = ()) -> None:
        modules = named_modules(model)
        apart = {id(module) for _, module in with_extra_state(modules)}
        self._modules = [(name, module) for name, module in modules if id(module) not in apart]
        buffers = (buffer for _, _, _, buffer in buffers_of(modules) if buffer is not None)
        self._registered = {id(tensor) for tensor in (*registered, *model.parameters(), *buffers)}
        self._names = [frozenset(vars(module)) for _, module in self._modules]
        self._start = {place: _held(value) for place, value in self._present().items()}
        self._now = dict(self._start)

    def with_nan(self) -> tuple[str, ...]:
        """The attributes that held a NaN, as `module.attribute`."""
        return self._named(place for place, held in self._now.items() if "nan" in flaws(all_tensors(held.value)))

    def suspects(self) -> tuple[str, ...]:
        """Those, and the ones with an infinity that a pass has changed: one that stays, as a mask's, is no fault.

        It is to be asked after a pass.
        """
        bad = [
            place
            for place, held in self._now.items()
            if (found := flaws(all_tensors(held.value))) and ("nan" in found or self._differs(place))
        ]
        return self._named(bad)

    def changed(self) -> tuple[str, ...]:
        """The attributes whose values differ now from what they were."""
        return self._named(place for place in {**self._now, **self._present()} if self._differs(place))

    def mend(self, names: Iterable[str]) -> None:
        """Let zeros stand for what is not finite in these attributes, whenever they are put back from now on."""
        wanted = set(names)
        for place, held in self._now.items():
            if self._name(place) in wanted:
                self._now[place] = _held(mapped(held.value, _finite))

    def unmend(self) -> None:
        """Go back to putting back what the attributes were."""
        self._now = dict(self._start)

    def put_back(self) -> None:
        """Give every attribute what it was, or was mended to."""
        self._write(self._now)

    def restore(self) -> None:
        """Give every attribute what it was at first."""
        self._write(self._start)

    def _write(self, wanted: dict[tuple[int, str], _Held]) -> None:
        for index, key in self._present().keys() - wanted.keys():
            if key not in self._names[index]:
                vars(self._modules[index][1]).pop(key, None)
        for (index, key), held in wanted.items():
            for at, (tensor, version, copy) in enumerate(held.tensors):
                if _version(tensor) != version:
                    # One that has another shape by now cannot be given its values.
                    with torch.no_grad(), contextlib.suppress(RuntimeError):
                        tensor.detach().copy_(copy)
                    held.tensors[at] = (tensor, _version(tensor), copy)
            attributes = vars(self._modules[index][1])
            present = attributes.get(key, _MISSING)
            if present is not held.value:
                attributes[key] = held.value
            if not isinstance(held.value, Tensor) and not _alike(held.value, held.copy):
                # It was written to: a list that has grown, a dictionary with another tensor in it.
                attributes[key] = held.value = mapped(held.copy, lambda tensor: tensor)

    def _present(self) -> dict[tuple[int, str], Any]:
        """Every attribute that counts, by its module's position and its name."""
        found = {}
        for index, (_, module) in enumerate(self._modules):
            of_torch = type(module).__module__.partition(".")[0] == "torch"
            for key, value in vars(module).items():
                if key in _OF_EVERY_MODULE:
                    continue
                tensors = [*all_tensors(value)]
                ours = [tensor for tensor in tensors if id(tensor) not in self._registered]
                if ours or (not tensors and not of_torch):
                    found[index, key] = value
        return found

    def _differs(self, place: tuple[int, str]) -> bool:
        present = vars(self._modules[place[0]][1]).get(place[1], _MISSING)
        held = self._now.get(place)
        if held is None or present is _MISSING:
            return True
        tensors = [*all_tensors(present)]
        if not held.tensors and not tensors:
            return not _alike(present, held.copy)
        values = [copy for _, _, copy in held.tensors]
        return len(tensors) != len(values) or not all(map(_same, tensors, values))

    def _named(self, places: Iterable[tuple[int, str]]) -> tuple[str, ...]:
        return tuple(self._name(place) for place in places)

    def _name(self, place: tuple[int, str]) -> str:
        name = self._modules[place[0]][0]
        return f"{name}.{place[1]}" if name else place[1]


def _held(value: Any) -> _Held:
    tensors = [(tensor, _version(tensor), tensor.detach().clone()) for tensor in all_tensors(value)]
    return _Held(value, mapped(value, lambda tensor: tensor), tensors)


def _finite(tensor: Tensor) -> Tensor:
    if not can_rot(tensor) or tensor.layout is not torch.strided:
        return tensor
    values = torch.where(torch.isfinite(tensor.detach()), tensor.detach(), torch.zeros_like(tensor))
    return values.requires_grad_(tensor.requires_grad and tensor.is_leaf)


def _version(tensor: Tensor) -> int:
    """How often a tensor was written to; not counted in inference mode."""
    return 0 if tensor.is_inference() else tensor._version


def _same(one: Tensor, other: Tensor) -> bool:
    return (
        one.shape == other.shape
        and one.dtype is other.dtype
        and one.device == other.device
        and bool(torch.equal(one, other))
    )


def _alike(one: Any, other: Any, _above: tuple[int, ...] = ()) -> bool:
    """Whether two values are the same in every part, tensors by identity."""
    if one is other or id(one) in _above:
        return True
    if isinstance(one, Tensor) or type(one) is not type(other):
        return False
    if is_record(one) or isinstance(one, (Mapping, list, tuple)):
        mine, others = dict(entries(one)), dict(entries(other))
        return mine.keys() == others.keys() and all(_alike(mine[key], others[key], (*_above, id(one))) for key in mine)
    with contextlib.suppress(Exception):
        return bool(one == other)
    return False
