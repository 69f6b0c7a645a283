"""The ways to run a training: by itself, with the usual recipes, and under the guard."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable
from itertools import islice

import torch

from benchmarks.rescue_study.training import Training
from supervisor import Guard

__all__ = ["BASELINES", "METHODS", "loop_without_nonfinite"]

SIGMAS, WINDOW, LEAST = 6, 128, 64
"""Skipping as OLMo-core's SkipStepOptimizer does it: 6 standard deviations over the last 128 updates, from 64 on."""


class _Never:
    def __call__(self, loss: float, norm: float) -> bool:
        return False


class _NonFinite:
    def __call__(self, loss: float, norm: float) -> bool:
        return not (math.isfinite(loss) and math.isfinite(norm))


class _SixSigma:
    """Skips what lies beyond mean + 6 standard deviations; every finite value enters the window, as published."""

    def __init__(self) -> None:
        self._windows = (deque[float](maxlen=WINDOW), deque[float](maxlen=WINDOW))

    def __call__(self, loss: float, norm: float) -> bool:
        verdicts = [self._beyond(window, value) for window, value in zip(self._windows, (loss, norm), strict=True)]
        return any(verdicts)

    def _beyond(self, window: deque[float], value: float) -> bool:
        if not math.isfinite(value):
            return True
        beyond = len(window) >= LEAST and value > statistics.fmean(window) + SIGMAS * statistics.pstdev(window)
        window.append(value)
        return beyond


def _loop(training: Training, skip: Callable[[float, float], bool], clip: float = math.inf) -> None:
    """The usual loop; an exception ends it, as it ends a script."""
    parameters = list(training.model.parameters())
    scaler = training.scaler
    for batch in islice(training.batches(), training.steps):
        training.optimizer.zero_grad()
        try:
            loss = training.loss(batch)
            (loss if scaler is None else scaler.scale(loss)).backward()  # type: ignore[no-untyped-call]
        except RuntimeError:
            return
        if scaler is not None:
            scaler.unscale_(training.optimizer)
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if math.isfinite(clip):
            torch.nn.utils.clip_grads_with_norm_(parameters, clip, norm)
        if scaler is not None:
            # It skips by itself what is not finite.
            scaler.step(training.optimizer)
            scaler.update()
        elif not skip(loss.item(), norm.item()):
            training.optimizer.step()
        training.scheduler.step()


def loop_without_nonfinite(training: Training, clip: float = math.inf) -> None:
    """The usual loop, without the updates that are not finite."""
    _loop(training, _NonFinite(), clip)


def _guarded(training: Training) -> None:
    guard = Guard(
        model=training.model,
        optimizer=training.optimizer,
        scheduler=training.scheduler,
        scaler=training.scaler,
        loss=training.loss,
        data=training.batches(),
        quiet=True,
    )
    guard.run(training.steps)


BASELINES: dict[str, Callable[[Training], None]] = {
    "no guard": lambda training: _loop(training, _Never()),
    "skip non-finite": loop_without_nonfinite,
    "skip + clip": lambda training: loop_without_nonfinite(training, clip=1.0),
    "6-sigma skip": lambda training: _loop(training, _SixSigma()),
}
METHODS: dict[str, Callable[[Training], None]] = {**BASELINES, "guard": _guarded}
"""By name; the first is the reference where nothing is broken."""
