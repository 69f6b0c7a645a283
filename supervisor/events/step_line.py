"""A step as people see it: the numbers behind the bar, or a line where there is none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from supervisor.events.pace import said_bytes, time_left
from supervisor.events.schema import StepEvent

__all__ = ["Shown", "counted", "fitted", "numbers_of", "step_line"]

COLUMNS = 120
"""What a line fits into; what matters least is left out."""


@dataclass(slots=True)
class Shown:
    """What is shown of a step. Nothing writes to it.

    Attributes:
        step: its position in the schedule, from 0.
        loss: its loss.
        grad_norm: its total gradient norm.
        lr: the learning rate that it was done with, cuts included; None: not known.
        cut: whether cuts of the rate are in force.
        rung: rung used last in the open incident, None when none is open.
        incidents: incidents opened so far.
        goodput: useful time over wall time so far, None where it is not known.
        steps_a_second: how fast the run goes, likewise.
        memory: bytes that the process holds, likewise.
    """

    step: int
    loss: float
    grad_norm: float
    lr: float | None = None
    cut: bool = False
    rung: int | None = None
    incidents: int = 0
    goodput: float | None = None
    steps_a_second: float | None = None
    memory: int | None = None

    @classmethod
    def of(
        cls,
        event: StepEvent,
        *,
        steps_a_second: float | None,
        goodput: float | None = None,
        memory: int | None = None,
    ) -> Shown:
        """What a line of the log tells of its step, and what it does not."""
        return cls(
            step=event.step or 0,
            loss=event.loss,
            grad_norm=event.grad_norm,
            lr=event.lr * event.lr_scale,
            cut=event.lr_scale != 1.0,
            rung=event.rung,
            incidents=event.incidents,
            goodput=goodput,
            steps_a_second=steps_a_second,
            memory=memory,
        )


def step_line(shown: Shown, total_steps: int | None) -> str:
    """`step 140/2000  7%  loss 0.7031  grad 1.5  lr 0.0005  24 steps/s  78 s left  goodput 98%  812 MB`."""
    of = "" if total_steps is None else f"/{total_steps}  {_percent(shown.step + 1, total_steps)}"
    return fitted([f"step {shown.step + 1}{of}", *numbers_of(shown, total_steps)], COLUMNS)


def numbers_of(shown: Shown, total_steps: int | None) -> list[str]:
    """What is worth knowing of a step beside its place, what matters most first."""
    rate = shown.steps_a_second
    left = None if total_steps is None else time_left(total_steps - shown.step - 1, rate)
    parts = [
        f"loss {shown.loss:.4g}",
        f"grad {shown.grad_norm:.3g}",
        None if shown.lr is None else f"lr {shown.lr:.3g}{' (cut)' if shown.cut else ''}",
        None if rate is None else f"{rate:.3g} steps/s" if rate >= 1 else f"{1 / rate:.3g} s/step",
        left,
        None if shown.goodput is None else f"goodput {shown.goodput:.0%}",
        None if shown.memory is None else said_bytes(shown.memory),
        counted(shown.incidents, "incident") if shown.incidents else None,
        None if shown.rung is None else f"rung {shown.rung}",
    ]
    return [part for part in parts if part is not None]


def fitted(parts: Iterable[str], columns: int) -> str:
    """As many of the parts, from the first on, as fit side by side."""
    line = ""
    for part in parts:
        longer = f"{line}  {part}" if line else part
        if line and len(longer) > columns:
            break
        line = longer
    return line


def counted(number: int, noun: str) -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _percent(done: int, total: int) -> str:
    # Not 100 % before it is done.
    return f"{100 * min(done, total) // total}%"
