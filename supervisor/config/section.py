"""What every section of the user's files is made of: its base class, strict and bounded numbers, and its conflicts."""

from __future__ import annotations

from typing import Annotated, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

_A_BILLION = 1_000_000_000
_A_YEAR_SECONDS = 365 * 24 * 3600.0

FORMAT_VERSION = "format version"
"""Marks the type below, for the words of its error messages."""

FormatVersion = Annotated[int, Field(strict=True, ge=1, le=1), FORMAT_VERSION]
"""The version of a file's format; there is one so far."""

Steps = Annotated[int, Field(strict=True, ge=1, le=_A_BILLION)]
"""Positions in the training schedule."""

Updates = Annotated[int, Field(strict=True, ge=1, le=_A_BILLION)]
"""Attempted optimizer updates."""

Count = Annotated[int, Field(strict=True, ge=1, le=10_000)]
"""How many of something: attempts, kept states."""

Seconds = Annotated[float, Field(strict=True, gt=0, le=_A_YEAR_SECONDS, allow_inf_nan=False)]
"""Wall time; fractions are fine."""


class Section(BaseModel):
    """A part of a file that users write: immutable, and refusing keys it does not know.

    Attributes:
        noun: what messages call it, where it is one of the kinds that a list may hold: `rung`.
        unknown_key_hint: what messages add to the keys that can be written instead of an unknown one.
    """

    noun: ClassVar[str] = "mapping"
    unknown_key_hint: ClassVar[str] = ""
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Conflict(NamedTuple):
    """A mistake that a validator of a section finds: values that contradict each other, or one that cannot be.

    Attributes:
        what: what is wrong, in a few words.
        fix: what to write instead.
        keys: the keys that contradict each other, the one to name first, relative to the section that finds the
            conflict, dotted where they lie deeper; none where the value itself is wrong.
    """

    what: str
    fix: str
    keys: tuple[str, ...] = ()


def conflict_error(*conflicts: Conflict) -> PydanticCustomError:
    """What a validator raises; the conflicts travel in its context, for the message to name their lines."""
    message = "; ".join(f"{conflict.what}: {conflict.fix}" for conflict in conflicts)
    return PydanticCustomError("conflict", "{message}", {"message": message, "conflicts": conflicts})


def conflict(what: str, fix: str, *keys: str) -> PydanticCustomError:
    """What a validator raises for one mistake; the arguments are those of `Conflict`."""
    return conflict_error(Conflict(what, fix, keys))
