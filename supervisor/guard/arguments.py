"""What a guard cannot work with, found before the first step and told with its mend."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeGuard

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from supervisor.errors import InputError, with_article
from supervisor.policy import RecoveryPolicy
from supervisor.training.modules import buffers_of, named_modules, named_parameters
from supervisor.training.optimizers import AnyOptimizer, members
from supervisor.training.trainer import Stateful

__all__ = ["NotGiven", "refuse", "wrong_loop", "wrong_numbers", "wrong_objects", "wrong_switches", "wrong_training"]


class NotGiven(enum.Enum):
    """Stands for an argument that was left out, where None would be a mistake."""

    HERE = enum.auto()


def refuse(problems: Iterable[str]) -> None:
    """Nothing where there are no problems.

    Raises:
        InputError: there are; all of them are told.
    """
    told = tuple(problems)
    if told:
        raise InputError(*told)


def wrong_objects(model: object, data: object, scaler: object, extra_state: object) -> Iterator[str]:
    """Objects of a kind that cannot be meant."""
    if not isinstance(model, nn.Module):
        yield f"model: {with_article(model)}: give a torch.nn.Module"
    if data is not None and not isinstance(data, Iterable) and not hasattr(type(data), "__getitem__"):
        yield f"data: {with_article(data)}: give an iterable of batches"
    if scaler is not None and not isinstance(scaler, GradScaler):
        yield f"scaler: {with_article(scaler)}: give a torch.amp.GradScaler"
    yield from _registered(extra_state)


def wrong_loop(
    loss: object, replay: object, data: object, position: object, *, steps_by_epoch: bool = False
) -> Iterator[str]:
    """What a loop of one's own cannot be supervised with."""
    if steps_by_epoch and data is None:
        mend = "give `data`, or step the scheduler yourself and register it in `extra_state`"
        yield f"scheduler_interval: the guard knows the epochs of batches that it draws alone: {mend}"
    if not isinstance(loss, NotGiven) and not callable(loss):
        yield f"loss: {with_article(loss)}: give a function of a batch that returns a scalar tensor"
    if replay is not None and not isinstance(replay, bool) and not callable(replay):
        yield f"replay: {with_article(replay)}: give a function of a batch that returns its loss, or False"
    if replay is True and isinstance(loss, NotGiven):
        yield "replay: there is no `loss` to call again: give the function itself"
    if position is not None and not isinstance(position, Stateful):
        yield f"position: {with_article(position)}: give an object with state_dict and load_state_dict"
    if position is not None and data is not None:
        yield "position: the guard knows the position in `data` itself: give one of the two"


def wrong_numbers(interval: object, accumulate: object, log_every_steps: object, seed: object) -> Iterator[str]:
    """Numbers and words that are wrong by themselves."""
    if interval not in ("step", "epoch"):
        yield f'scheduler_interval: {interval!r}: write "step" or "epoch"'
    for name, number in (("accumulate", accumulate), ("log_every_steps", log_every_steps)):
        if not _is_whole(number) or number < 1:
            yield f"{name}: {number!r}: write a whole number, 1 or more"
    if seed is not None and not _is_whole(seed):
        yield f"seed: {seed!r}: write a whole number"


def wrong_switches(**switches: object) -> Iterator[str]:
    """What is on or off and was given something else, which Python would take for on."""
    for name, value in switches.items():
        if not isinstance(value, bool):
            yield f"{name}: {value!r}: write True or False"
    if switches.get("after_halt") is True and not switches.get("resume"):
        yield "after_halt: goes with `resume=True`: there is no halt to go on from in a new run"


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _registered(extra_state: object) -> Iterator[str]:
    if not isinstance(extra_state, Mapping):
        if extra_state is not None:
            yield f"extra_state: {with_article(extra_state)}: give a mapping of names to objects"
        return
    for name, held in extra_state.items():
        if not isinstance(held, Stateful):
            mend = "give an object with state_dict and load_state_dict"
            if isinstance(held, torch.Generator):
                mend += " that call its get_state and set_state"
            yield f"extra_state: {name}: {with_article(held)}: {mend}"


def wrong_training(model: nn.Module, optimizer: AnyOptimizer, policy: RecoveryPolicy) -> Iterator[str]:
    """Models and optimizers whose updates could not be inspected, or not be undone."""
    yield from _uninitialised(model)
    for each in members(optimizer):
        yield from _optimizer_problems(each)
    if policy.gradient_clip is not None:
        yield from _sparse(model)


def _uninitialised(model: nn.Module) -> Iterator[str]:
    held = [
        *named_parameters(model).items(),
        *((name, buffer) for name, _, _, buffer in buffers_of(named_modules(model))),
    ]
    lazy = [name for name, tensor in held if tensor is not None and is_lazy(tensor)]
    if lazy:
        mend = "run one batch through the model first, then build the optimizer and the guard"
        yield f"model: {', '.join(lazy[:3])} not initialised (lazy modules): {mend}"


def _optimizer_problems(optimizer: Optimizer) -> Iterator[str]:
    kind = type(optimizer).__name__
    if _needs_closure(optimizer):
        # The closure computes several losses and gradients inside one step, past every inspection.
        mend = "use one whose step() takes no closure (Adam, SGD, ...)"
        yield f"optimizer: {kind} steps through a closure, which cannot be inspected: {mend}"
    for index, group in enumerate(optimizer.param_groups):
        if group.get("lr", None) is None:
            mend = "give it a learning rate: lower_lr multiplies it"
            yield f"optimizer: {kind}: param_groups.{index} has no `lr`: {mend}"


def _needs_closure(optimizer: Optimizer) -> bool:
    try:
        # Of the class: a scheduler wraps the method of the instance. The first one is `self`.
        parameters = list(inspect.signature(type(optimizer).step).parameters.values())[1:]
    except (TypeError, ValueError):
        return False
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return any(each.default is inspect.Parameter.empty and each.kind not in optional for each in parameters)


def _sparse(model: nn.Module) -> Iterator[str]:
    for name, module in named_modules(model):
        if isinstance(module, (nn.Embedding, nn.EmbeddingBag)) and module.sparse:
            mend = "write `gradient_clip: null`, or build it with sparse=False"
            yield f"model: {name or type(module).__name__} has sparse gradients, which torch cannot clip: {mend}"
