"""Cures: which apply to a training, what each changes, and those that are in force for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from supervisor.experiments.fork import Setting
from supervisor.policy import Cure
from supervisor.training.modules import named_modules
from supervisor.training.optimizers import AnyOptimizer
from supervisor.training.state import Subject
from supervisor.update import Executor

__all__ = ["CuresInForce", "why_not_applied"]


def why_not_applied(cure: Cure, subject: Subject, executor: Executor, flagged: tuple[str, ...]) -> str | None:
    """Why a cure would change nothing, or cannot be made; None where it applies.

    Args:
        cure: the cure.
        subject: the training objects.
        executor: what clips its gradients now.
        flagged: the modules of a wrong initial scale.
    """
    if cure.reinitialize_flagged and not flagged:
        return "no module was drawn at a wrong scale"
    if cure.clip is not None and cure.clip == executor.max_norm:
        return f"gradients are clipped to {cure.clip:g} already"
    if cure.clip is not None and _sparse(subject.model):
        return "its sparse gradients cannot be clipped"
    for key, value in _options(cure).items():
        if not _groups_to_change(subject.optimizer, key, value):
            return f"no parameter group has another {key} than {value:g}"
    return None


class CuresInForce:
    """The cures that were chosen: kept in every checkpoint, and in force again whatever state is put back.

    Args:
        subject: the training objects; their `after_restore` is told.
        executor: makes the updates.

    Attributes:
        labels: names of the cures, in the order in which they were chosen.
        flagged: qualified names of the modules whose initial weights were found to be of a wrong scale.
        large_weights: whether some of them were far too large.
        small_weights: whether all were far too small.
        redraws_only: whether nothing but the scale of those weights is in question.
    """

    def __init__(self, subject: Subject, executor: Executor) -> None:
        self.labels: tuple[str, ...] = ()
        self.flagged: tuple[str, ...] = ()
        self.large_weights = False
        self.small_weights = False
        self.redraws_only = False
        self._subject = subject
        self._executor = executor
        self._lr_factor = 1.0
        self._max_norm: float | None = None
        self._options: dict[str, float] = {}
        # An older state brings the options of its time back.
        subject.after_restore.append(self._write_options)

    def on_a_fork(self, cure: Cure | None) -> Setting:
        """Change the options of a fork, whose root is in place, by one more cure; None changes nothing.

        The learning-rate cuts of the ladder are left out: they end, and a cure has to do without them.
        """
        if cure is None:
            return Setting(self._lr_factor, self._executor.max_norm)
        _write(self._subject.optimizer, _options(cure))
        clip = self._executor.max_norm if cure.clip is None else cure.clip
        return Setting(self._lr_factor * (cure.lr or 1.0), clip)

    def put_in_force(self, cure: Cure) -> None:
        """Keep a cure from now on; its modules are the caller's to redraw."""
        self._lr_factor *= cure.lr or 1.0
        self._max_norm = self._max_norm if cure.clip is None else cure.clip
        self._options |= _options(cure)
        self.labels = (*self.labels, cure.label)
        self._bring_into_force()

    def state_dict(self) -> dict[str, Any]:
        """What is in force, as plain values."""
        return {
            "labels": list(self.labels),
            "flagged": list(self.flagged),
            "large_weights": self.large_weights,
            "small_weights": self.small_weights,
            "lr_factor": self._lr_factor,
            "max_norm": self._max_norm,
            "options": dict(self._options),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave, and bring it into force."""
        self.labels, self.flagged = tuple(state["labels"]), tuple(state["flagged"])
        self.large_weights, self.small_weights = state["large_weights"], state.get("small_weights", False)
        self._lr_factor, self._max_norm = state["lr_factor"], state["max_norm"]
        self._options = dict(state["options"])
        self._bring_into_force()

    def _bring_into_force(self) -> None:
        self._executor.lr_factor = self._lr_factor
        if self._max_norm is not None:
            self._executor.max_norm = self._max_norm
        self._write_options()

    def _write_options(self) -> None:
        _write(self._subject.optimizer, self._options)


def _options(cure: Cure) -> dict[str, float]:
    """What a cure writes into parameter groups."""
    options = {"momentum": cure.momentum, "eps": cure.eps}
    return {key: value for key, value in options.items() if value is not None}


def _groups_to_change(optimizer: AnyOptimizer, key: str, value: float) -> list[dict[str, Any]]:
    return [
        group for group in optimizer.param_groups if isinstance(group.get(key), float | int) and group[key] != value
    ]


def _write(optimizer: AnyOptimizer, options: Mapping[str, float]) -> None:
    for key, value in options.items():
        for group in _groups_to_change(optimizer, key, value):
            group[key] = value


def _sparse(model: nn.Module) -> bool:
    kinds = (nn.Embedding, nn.EmbeddingBag)
    return any(isinstance(module, kinds) and module.sparse for _, module in named_modules(model))
