"""What the rungs that do something share: a budget, and how often in one incident."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator

from supervisor.config.section import Count, Section, Updates
from supervisor.records import ActionName

__all__ = ["LimitedRung", "UseLimit"]


class UseLimit(Section):
    """A budget over all incidents: so many uses of a rung within a sliding window of updates."""

    uses: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] = 100
    """How often the rung may be used within the window."""
    window_updates: Updates = 1000
    """Length of the sliding window, in attempted optimizer updates."""


class LimitedRung(Section):
    """A rung that does something other than halt."""

    noun = "rung"
    action: ActionName
    attempts: Count
    limit: UseLimit | None

    @field_validator("limit", mode="before")
    @classmethod
    def _keep_what_is_not_written(cls, value: Any) -> Any:
        default = cls.model_fields["limit"].default
        return {**default.model_dump(), **value} if isinstance(value, Mapping) else value
