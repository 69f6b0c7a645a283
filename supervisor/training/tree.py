"""Copies of nested state and of batches: containers (see `containers`) with tensors and plain values in them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from supervisor.errors import with_article
from supervisor.training.containers import attributes, blank_twin, entries, is_record, with_values

__all__ = ["all_tensors", "clone", "comes_back", "copied", "copies", "mapped", "plain", "tensors", "tensors_in"]


def clone(tree: Any) -> Any:
    """A copy that shares no tensor and no container with `tree`; tensors keep their device, not their graph."""
    if isinstance(tree, Tensor):
        return tree.detach().clone(memory_format=torch.preserve_format)
    if type(tree) is dict:
        return {key: clone(value) for key, value in tree.items()}
    if type(tree) is list:
        return [clone(value) for value in tree]
    if type(tree) is tuple:
        return tuple(clone(value) for value in tree)
    if isinstance(tree, (bool, int, float, str, bytes, type(None))):
        return tree
    # With the tensors copied beforehand, since a deep copy refuses those with a graph.
    return copy.deepcopy(tree, {id(tensor): clone(tensor) for _, tensor in tensors(tree)})


@torch.no_grad()
def copied(tree: Any, spare: Any) -> Any:
    """`clone(tree)`, written into the tensors of `spare` where they fit: fresh memory costs more than the copy.

    Args:
        tree: dictionaries, lists, tuples, tensors and plain values.
        spare: an earlier copy of the same that nobody needs any more, or anything else.
    """
    pending: _Pending = {}
    copy_of = _copied(tree, spare, pending)
    # One call for all of a kind.
    for into, held in pending.values():
        torch._foreach_copy_(into, held)
    return copy_of


_Pending = dict[tuple[torch.device, torch.dtype], tuple[list[Tensor], list[Tensor]]]


def _copied(tree: Any, spare: Any, pending: _Pending) -> Any:
    if isinstance(tree, Tensor):
        fits = (
            isinstance(spare, Tensor)
            and spare.shape == tree.shape
            and spare.dtype is tree.dtype
            and spare.layout is tree.layout is torch.strided
            and spare.stride() == tree.stride()
            and spare.device == tree.device
        )
        if not fits:
            return clone(tree)
        into, held = pending.setdefault((tree.device, tree.dtype), ([], []))
        into.append(spare)
        held.append(tree)
        return spare
    if type(tree) is dict:
        known = spare if isinstance(spare, dict) else {}
        return {key: _copied(value, known.get(key), pending) for key, value in tree.items()}
    return clone(tree)


def tensors(tree: Any, path: str = "", _above: tuple[Any, ...] = ()) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in `tree` with its dotted path."""
    if isinstance(tree, Tensor):
        yield path, tree
    elif is_record(tree):
        # An instance may hold the one that holds it.
        if not any(each is tree for each in _above):
            for name, value in attributes(tree).items():
                yield from tensors(value, f"{path}.{name}" if path else name, (*_above, tree))
    else:
        for key, value in entries(tree):
            yield from tensors(value, f"{path}.{key}" if path else str(key), _above)


def tensors_in(tree: Any) -> list[Tensor]:
    """The same without the paths, which cost more than the walk."""
    if isinstance(tree, Tensor):
        return [tree]
    if not isinstance(tree, (Mapping, list, tuple)):
        return [tensor for _, tensor in tensors(tree)]
    found: list[Tensor] = []
    for value in tree.values() if isinstance(tree, Mapping) else tree:
        if isinstance(value, Tensor):
            found.append(value)
        elif not isinstance(value, (int, float, str)):
            found += tensors_in(value)
    return found


def all_tensors(tree: Any) -> Iterator[Tensor]:
    """Every tensor in nested containers, in no particular order; each container is looked into once."""
    waiting, seen = [tree], dict[int, Any]()
    while waiting:
        here = waiting.pop()
        if isinstance(here, Tensor):
            yield here
        elif id(here) not in seen:
            # Nodes of a tree may hold their parents. They are kept, so that no other gets the same id.
            seen[id(here)] = here
            waiting += [value for _, value in entries(here)]


def mapped(tree: Any, change: Callable[[Any], Any], is_leaf: Callable[[Any], bool] = torch.is_tensor) -> Any:
    """The tree with every leaf changed, in containers of the same kinds; all else stays.

    Args:
        tree: containers, nested.
        change: gives what stands for a leaf.
        is_leaf: tells one, and may tell a whole container; tensors, unless it says otherwise.
    """
    return _mapped(tree, change, is_leaf, {})


def _mapped(tree: Any, change: Callable[[Any], Any], is_leaf: Callable[[Any], bool], twins: dict[int, Any]) -> Any:
    if is_leaf(tree):
        return change(tree)
    if isinstance(tree, Mapping):
        return with_values(tree, {key: _mapped(value, change, is_leaf, twins) for key, value in tree.items()})
    if isinstance(tree, (list, tuple)):
        values = [_mapped(value, change, is_leaf, twins) for value in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    if is_record(tree):
        return twins[id(tree)] if id(tree) in twins else _mapped_record(tree, change, is_leaf, twins)
    return tree


def _mapped_record(
    record: Any, change: Callable[[Any], Any], is_leaf: Callable[[Any], bool], twins: dict[int, Any]
) -> Any:
    # Known before it is filled, since it may hold itself.
    twin = twins[id(record)] = blank_twin(record)
    for name, value in attributes(record).items():
        # Past a frozen one's own refusal.
        object.__setattr__(twin, name, _mapped(value, change, is_leaf, twins))
    return twin


def plain(tree: Any, path: str = "state") -> Any:
    """`tree` as it may stand in a checkpoint: tensors, numbers, strings, dicts, lists and tuples alone.

    Raises:
        TypeError: something else is in it; the message names where.
    """
    if isinstance(tree, Tensor):
        return tree.detach()
    # Subclasses (a Counter of milestones, a float64 of NumPy) become their plain base.
    if isinstance(tree, Mapping):
        return {_plain_key(key, path): plain(value, f"{path}.{key}") for key, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(plain(value, f"{path}.{index}") for index, value in enumerate(tree))
    if isinstance(tree, list):
        return [plain(value, f"{path}.{index}") for index, value in enumerate(tree)]
    if isinstance(tree, (bool, type(None), bytes)):
        return tree
    for kind in (int, float, str):
        if isinstance(tree, kind):
            return kind(tree)
    if isinstance(tree, (np.generic, np.ndarray)):
        if tree.ndim == 0 and not isinstance(tree.item(), np.generic):
            return plain(tree.item(), path)
        with contextlib.suppress(TypeError):  # text, objects, dates: refused below
            return torch.as_tensor(tree, device="cpu").clone()
    raise TypeError(
        f"{path}: {with_article(tree)} cannot stand in a checkpoint: "
        "return tensors, numbers, strings, dicts, lists and tuples from state_dict"
    )


def comes_back(tree: Any) -> bool:
    """Whether a checkpoint gives back exactly `tree`, types included: a named tuple would come back as a tuple."""
    if type(tree) is dict:
        return all(_key_comes_back(key) and comes_back(value) for key, value in tree.items())
    if type(tree) in (list, tuple):
        return all(comes_back(value) for value in tree)
    if isinstance(tree, Tensor):
        return type(tree) is Tensor and not tree.requires_grad
    return type(tree) in (bool, int, float, str, bytes, type(None))


def copies(tree: Any, _above: tuple[Any, ...] = ()) -> bool:
    """Whether `clone` gives exactly `tree` again, types included: more than a checkpoint gives back."""
    kind = type(tree)
    if kind in (dict, list, tuple) or is_record(tree) or (isinstance(tree, tuple) and hasattr(tree, "_fields")):
        # A copy of its own making may be anything, and what holds itself is not looked into any further.
        sure = not hasattr(kind, "__deepcopy__") and not any(each is tree for each in _above)
        return sure and all(copies(value, (*_above, tree)) for _, value in entries(tree))
    return comes_back(tree)


def _key_comes_back(key: Any) -> bool:
    if type(key) is tuple:
        return all(map(_key_comes_back, key))
    return type(key) in (bool, int, float, str, type(None))


def _plain_key(key: Any, path: str) -> Any:
    if isinstance(key, tuple):
        return tuple(_plain_key(part, path) for part in key)
    if isinstance(key, (bool, int, float, str)) or key is None:
        return key
    raise TypeError(f"{path}: a key of type {type(key).__qualname__} cannot stand in a checkpoint")
