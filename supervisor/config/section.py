"""The base class of every section of the user's files, and how a section reports values that contradict each other."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

__all__ = ["Conflict", "Section", "conflict_error"]


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
