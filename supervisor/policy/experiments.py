"""What may be computed only to decide: how suspicious an update must be, what counts as harm, what it may cost."""

from __future__ import annotations

import enum
import math
from typing import Annotated, Self

from pydantic import Field, model_validator

from supervisor.config.section import Count, Section, Updates, conflict

__all__ = ["BadData", "Experiments", "Shift", "ShiftAnswer"]


class BadData(Section):
    """How many batches may be discarded because the data are bad, before the run halts."""

    in_a_row: Count = 50
    """Bad batches with no healthy one between them."""
    share: Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)] = 0.25
    """Share of the batches within the window."""
    window_updates: Updates = 200
    """Length of the window, in attempted optimizer updates."""


class ShiftAnswer(enum.StrEnum):
    """What happens when the data have changed for good."""

    ACCEPT = "accept"
    """The training goes on, with windows and canaries begun anew."""
    HALT = "halt"
    """The run halts, in the state from before the change."""


class Shift(Section):
    """When a stretch of odd updates that harm nothing counts as a change of the data, and what follows."""

    after_updates: Count = 12
    """Odd updates in a row that were accepted on trial."""
    then: ShiftAnswer = ShiftAnswer.ACCEPT
    """`accept`: the training goes on. `halt`: it ends."""


class Experiments(Section):
    """Statistics suspect, an experiment convicts: known batches are tried again on the present state (canaries), and
    an odd update is applied on trial. A healthy run never calls the user's code a second time."""

    canary_batches: Annotated[int, Field(strict=True, ge=1, le=1000)] = 4
    """How many of the last healthy batches are kept as canaries, with their losses."""
    harm_factor: Annotated[float, Field(strict=True, gt=1, le=1e6, allow_inf_nan=False)] = 1.6
    """How many times the canaries' median loss may rise."""
    least_harm: Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)] = 0.01
    """A rise of less than this share of what was learnt so far (the first loss less the best level) is no harm."""
    suspect_score: Annotated[float, Field(strict=True, gt=0, le=1e6, allow_inf_nan=False)] = 3.0
    """Robust score of log loss and log gradient norm from which an update is odd: worth a trial, no intervention."""
    bad_data: BadData = BadData()
    """How many bad batches are skipped before the run halts."""
    shift: Shift = Shift()
    """When the data count as changed for good."""
    max_share_of_passes: Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)] = 0.01
    """What all trials together may cost, as a share of the updates; a forward pass counts a third of an update."""

    @model_validator(mode="after")
    def _some_batches_are_allowed(self) -> Self:
        bad = self.bad_data
        if bad.share * bad.window_updates < 1:
            what = f"a share of {bad.share:g} of {bad.window_updates} updates allows no bad batch at all"
            fix = f"write at least `share: {1 / bad.window_updates:g}`, or a longer `window_updates`"
            raise conflict(what, fix, "bad_data.share", "bad_data.window_updates")
        return self

    @model_validator(mode="after")
    def _in_a_row_counts(self) -> Self:
        """A default was not asked for by anybody: it may be without effect."""
        bad = self.bad_data
        allowed = bad.share * bad.window_updates
        if bad.in_a_row != BadData().in_a_row and bad.share < 1 and bad.in_a_row > allowed:
            most = math.floor(allowed)
            what = (
                f"{bad.in_a_row} are never reached: a share of {bad.share:g} of {bad.window_updates} halts after {most}"
            )
            fix = f"write at most `in_a_row: {most}`, or a larger `share` or `window_updates`"
            raise conflict(what, fix, "bad_data.in_a_row", "bad_data.share", "bad_data.window_updates")
        return self

    @model_validator(mode="after")
    def _a_fork_is_asked_before_the_halt(self) -> Self:
        most, after = self.bad_data.in_a_row, self.shift.after_updates
        if most < after:
            what = (
                f"the run halts after {most} bad batches in a row, before {after} are asked whether they can be learnt"
            )
            fix = f"write at most `shift: {{after_updates: {most}}}`, or at least `bad_data: {{in_a_row: {after}}}`"
            keys = ("bad_data.in_a_row", "shift.after_updates")
            raise conflict(what, fix, *(keys if most < BadData().in_a_row else keys[::-1]))
        return self
