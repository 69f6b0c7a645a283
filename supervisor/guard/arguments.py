"""What a guard cannot work with, found before the first step and told with its mend."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from supervisor.errors import InputError
from supervisor.policy import RecoveryPolicy
from supervisor.training.modules import buffers_of, named_modules
from supervisor.training.names import named_parameters
from supervisor.training.optimizers import AnyOptimizer, members

__all__ = ["check_arguments", "check_training"]


def check_arguments(interval: str, accumulate: int, log_every_steps: int) -> None:
    """Refuse numbers and words that are wrong by themselves.

    Raises:
        InputError: some are; all of them are told.
    """
    problems = []
    if interval not in ("step", "epoch"):
        problems.append(f'scheduler_interval: {interval!r}: write "step" or "epoch"')
    if accumulate < 1:
        problems.append(f"accumulate: {accumulate}: write 1 or more")
    if log_every_steps < 1:
        problems.append(f"log_every_steps: {log_every_steps}: write 1 or more")
    if problems:
        raise InputError(*problems)


def check_training(model: nn.Module, optimizer: AnyOptimizer, policy: RecoveryPolicy) -> None:
    """Refuse models and optimizers whose updates could not be inspected, or not be undone.

    Raises:
        InputError: there are such; all of them are told.
    """
    problems = [*_uninitialised(model)]
    for each in members(optimizer):
        problems += _optimizer_problems(each)
    if policy.gradient_clip is not None:
        problems += _sparse(model)
    if problems:
        raise InputError(*problems)


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
