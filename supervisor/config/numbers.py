"""Types of numbers that several sections share: strict (no text, no booleans) and bounded."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

__all__ = ["FORMAT_VERSION", "Count", "FormatVersion", "Seconds", "Steps", "Updates"]

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
