"""Whether the model, its optimizer and its scheduler belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from supervisor.training.optimizers import AnyOptimizer

__all__ = ["strangers"]


def strangers(
    model: nn.Module, optimizer: AnyOptimizer, scheduler: LRScheduler | Sequence[LRScheduler] | None
) -> Iterator[str]:
    """An optimizer of another model, and schedulers of another optimizer: training would go on, and change nothing.

    Some parameters that are not the model's are fine (a loss that learns, a second network), all of them are not. A
    model without parameters says nothing.
    """
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    own = {id(parameter) for parameter in model.parameters()}
    if held and own and not held & own:
        mend = "build it from model.parameters() of this very model, after it was copied, moved or wrapped"
        yield f"optimizer: none of its {len(held)} parameters belongs to the model: {mend}"
    groups = {id(group) for group in optimizer.param_groups}
    several = scheduler if isinstance(scheduler, Sequence) else () if scheduler is None else (scheduler,)
    for place, each in enumerate(several):
        # A wrapper around an optimizer has its very groups.
        steers = getattr(getattr(each, "optimizer", None), "param_groups", None)
        if steers and not any(id(group) in groups for group in steers):
            which = f"scheduler: {type(each).__name__}" + (f" ({place})" if len(several) > 1 else "")
            yield f"{which} steers another optimizer: build it with the optimizer that the guard is given"
