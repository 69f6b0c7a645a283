"""What one change of the set-up, made before the first step, would have come to: the best a single cure can do."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch.optim.lr_scheduler import LambdaLR

from benchmarks.rescue_study.cases import Case
from benchmarks.rescue_study.methods import loop_without_nonfinite
from benchmarks.rescue_study.training import Training

__all__ = ["CLIP", "CURES", "scores"]

CLIP = 1.0
"""Largest gradient norm under the cures that clip."""

Change = Callable[[Training], bool]
"""Makes the cure; False where there is nothing to change."""


def _rate_times(factor: float) -> Change:
    def change(training: Training) -> bool:
        for group in training.optimizer.param_groups:
            group["initial_lr"] *= factor
            group["lr"] *= factor
        if isinstance(training.scheduler, LambdaLR):
            training.scheduler.base_lrs = [factor * rate for rate in training.scheduler.base_lrs]
        return True

    return change


def _option(name: str, value: float) -> Change:
    def change(training: Training) -> bool:
        groups = [group for group in training.optimizer.param_groups if group.get(name, value) != value]
        for group in groups:
            group[name] = value
        return bool(groups)

    return change


def _redrawn(training: Training) -> bool:
    """Every module draws its weights as it does when it is built."""
    for module in training.model.modules():
        draw = getattr(module, "reset_parameters", None)
        if callable(draw):
            draw()
    return True


def _nothing(training: Training) -> bool:
    return True


CURES: dict[str, tuple[Change, bool]] = {
    "none": (_nothing, False),
    "clip 1.0": (_nothing, True),
    "rate x 0.1": (_rate_times(0.1), False),
    "rate x 0.01": (_rate_times(0.01), False),
    "rate x 0.001": (_rate_times(0.001), False),
    "rate x 10": (_rate_times(10), False),
    "momentum 0.9": (_option("momentum", 0.9), False),
    "eps 1e-8": (_option("eps", 1e-8), False),
    "eps 1e-4": (_option("eps", 1e-4), False),
    "redraw": (_redrawn, False),
    "redraw, clip 1.0": (_redrawn, True),
}
"""Name -> the change, and whether gradients are clipped too; the least intrusive first."""


def scores(case: Case, seed: int, names: Iterable[str] = tuple(CURES)) -> dict[str, float]:
    """The score of each of these cures that changes something, updates that are not finite being left out."""
    found = {}
    for name in names:
        change, clips = CURES[name]
        training = case.build(seed)
        if change(training):
            loop_without_nonfinite(training, *([CLIP] if clips else []))
            found[name] = training.score()
    return found
