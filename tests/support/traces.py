"""Whatever a computation may leave behind in a training: taken before it, compared after it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from supervisor.training.attributes import NOT_PLAIN
from supervisor.training.optimizers import members
from supervisor.training.state import Subject
from support.exact import generators

__all__ = ["all_of"]


def all_of(subject: Subject) -> Mapping[str, Any]:
    """What the training objects hold, the generators, and what modules keep beside: modes and plain attributes."""
    model = subject.model
    return copy.deepcopy(
        {
            "parameters": {name: parameter.detach() for parameter, name in subject.names.items()},
            "gradients": {name: p.grad.detach() for p, name in subject.names.items() if p.grad is not None},
            "buffers": dict(model.named_buffers()),
            "optimizers": [each.state_dict() for each in members(subject.optimizer)],
            "scheduler": None if subject.scheduler is None else subject.scheduler.state_dict(),
            "scaler": None if subject.scaler is None else subject.scaler.state_dict(),
            "extra": {name: held.state_dict() for name, held in subject.extra.items()},
            "generators": generators(),
            "modes": {name: module.training for name, module in model.named_modules()},
            "attributes": {
                name: {key: value for key, value in vars(module).items() if key not in NOT_PLAIN}
                for name, module in model.named_modules()
            },
        }
    )
