"""What a training job hands to the worker: a class that follows this protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, Self, cast, runtime_checkable

from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["Stateful", "Trainer", "as_stateful"]


@runtime_checkable
class Stateful(Protocol):
    """Anything whose state can be taken and put back."""

    def state_dict(self) -> Any:
        """The state; tensors, numbers, strings, dicts, lists and tuples alone."""

    def load_state_dict(self, state: Any, /) -> Any:
        """Take back what `state_dict` gave, without keeping the tensors it is handed."""


def as_stateful(thing: Any) -> Stateful | None:
    """The same, where it has both methods: by attribute, so that a wrapper that passes attributes on counts too."""
    both = all(callable(getattr(thing, name, None)) for name in ("state_dict", "load_state_dict"))
    return cast(Stateful, thing) if both else None


class Trainer(Protocol):
    """The parts of a training job.

    Several optimizers stand in a list: they step one after the other, and share no parameter.

    A trainer may also offer, and the worker then uses them:

    - `scheduler`: learning-rate scheduler, or a list of them, stepped once per applied step;
    - `scheduler_interval`: `"epoch"` has it stepped once an epoch instead; `"step"` is the default;
    - `scaler`: `torch.amp.GradScaler`;
    - `on_gradients(total_norm)`: called between inspection and update;
    - `sanitized() -> Tensor`: 0-dimensional, values the model replaced since the last call;
    - `evaluate() -> dict[str, float]`: validation metrics, called at the end of the run and every
      `evaluate_every_steps` of the job; whatever it changes is put back;
    - `reset_module(name, module, generator) -> bool`: redraws a module by the trainer's own rule, drawing from the
      CPU generator alone; True when it did;
    - `averaged_weights() -> Mapping[str, Tensor] | None`: what an export takes instead of the model's parameters, by
      their names; `supervisor evaluate` and `export` put the optimizer's state back too for a trainer that has it;
    - `state_dict` / `load_state_dict`: anything else that a step changes.
    """

    model: nn.Module
    optimizer: Optimizer | Sequence[Optimizer]
    data: Iterable[Any]

    @classmethod
    def from_config(cls, config: Mapping[str, Any], *, seed: int) -> Self:
        """Build the job. A pydantic `ValidationError` or an `InputError` ends the run with exit code 2.

        Where it takes a parameter named `steps`, it is handed the step at which the schedule ends.
        """

    def loss(self, batch: Any) -> Tensor:
        """Scalar loss with a graph. It may be called again on the same batch, to diagnose."""
