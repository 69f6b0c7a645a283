"""What a job asks of its trainer that the trainer does not offer."""

from __future__ import annotations

import json
from itertools import islice

from supervisor.config.origins import Origins, Problem
from supervisor.job import Job
from supervisor.process.trainer_loading import takes_steps
from supervisor.run_layout import RunLayout
from supervisor.training.trainer import Trainer

__all__ = ["evaluation_misfits", "schedule_too_short"]

FIRST_LINES = 100
"""Lines of a log among which its `run_started` stands: warnings may come before it."""


def evaluation_misfits(job: Job, trainer: Trainer, origins: Origins) -> list[Problem]:
    """The keys about evaluation that a trainer without `evaluate` cannot serve."""
    if callable(getattr(trainer, "evaluate", None)):
        return []
    keys = [key for key in ("evaluate_every_steps", "keep_best") if getattr(job, key) is not None]
    what, mend = f"{type(trainer).__name__} has no evaluate", "give it evaluate() -> dict[str, float], or leave {} out"
    return [origins.problem((key,), what, mend.format(key)) for key in keys]


def schedule_too_short(layout: RunLayout, steps: int, kind: type[Trainer]) -> str | None:
    """What to say where a run goes on to more steps than it was started with and its trainer cannot be told so.

    Args:
        layout: of the run directory.
        steps: where the schedule is to end now.
        kind: the trainer's class.
    """
    first = _steps_at_start(layout)
    if first is None or steps <= first or takes_steps(kind):
        return None
    return (
        f"the run goes on to {steps} steps and was started with {first}: a schedule of the trainer's was built for "
        f"{first} steps; let {kind.__name__}.from_config take `steps` to build it for as many as the job has"
    )


def _steps_at_start(layout: RunLayout) -> int | None:
    try:
        with layout.rank_events.open(encoding="utf-8") as lines:
            for line in islice(lines, FIRST_LINES):
                event = json.loads(line)
                if event.get("event") == "run_started":
                    return int(event["steps"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # A log that cannot be read is told of elsewhere.
        return None
    return None
