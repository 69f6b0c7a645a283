"""The base class of every section of the user's files, and how a section reports values that contradict each other."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

__all__ = ["Conflict", "Section", "conflict_error"]


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
