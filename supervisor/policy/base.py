"""What every section of the user's files has in common: frozen, no unknown keys, strict bounded numbers."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

__all__ = ["Conflict", "Count", "FormatVersion", "Seconds", "Section", "Steps", "Updates", "conflict_error"]

_A_BILLION = 1_000_000_000
_A_YEAR_SECONDS = 365 * 24 * 3600.0

FormatVersion = Annotated[int, Field(strict=True, ge=1, le=1)]
"""The one version of the file format there is so far."""

Steps = Annotated[int, Field(strict=True, ge=1, le=_A_BILLION)]
"""Positions in the training schedule."""

Updates = Annotated[int, Field(strict=True, ge=1, le=_A_BILLION)]
"""Attempted optimizer updates."""

Count = Annotated[int, Field(strict=True, ge=1, le=10_000)]
"""How many of something: attempts, kept states."""

Seconds = Annotated[float, Field(strict=True, gt=0, le=_A_YEAR_SECONDS, allow_inf_nan=False)]
"""Wall time; fractions are fine."""


class Section(BaseModel):
    """A part of a policy or a job: immutable, and refusing keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Conflict(NamedTuple):
    """A problem between values that are each fine on their own.

    Attributes:
        what: what is wrong, in a few words.
        mend: what to write instead.
        keys: the keys at fault, most telling first, relative to the section that finds the conflict; dotted
            where they lie deeper.
    """

    what: str
    mend: str
    keys: tuple[str, ...] = ()


def conflict_error(*conflicts: Conflict) -> PydanticCustomError:
    """What a validator raises; the conflicts travel in its context, for the message to name their lines."""
    message = "; ".join(f"{conflict.what}: {conflict.mend}" for conflict in conflicts)
    return PydanticCustomError("conflict", "{message}", {"message": message, "conflicts": conflicts})
