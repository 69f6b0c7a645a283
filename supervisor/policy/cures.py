"""What may be changed of a set-up that does not train, and the rung that tries it on forks."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    field_validator,
    model_serializer,
    model_validator,
)

from supervisor.config.section import Count, Section, conflict
from supervisor.policy.ladder_base import LimitedRung, UseLimit
from supervisor.records import ActionName

__all__ = ["DEFAULT_CURES", "Cure", "NamedCure", "TryCuresRung", "WrittenCure", "changes_of", "label_of"]

_Number = Annotated[float, Field(strict=True, gt=0, le=1e9, allow_inf_nan=False)]


class NamedCure(enum.StrEnum):
    """The cures that are written as a word."""

    KEEP = "keep"
    """The set-up as it is: what every other one is compared with."""
    REINITIALIZE_FLAGGED = "reinitialize_flagged"
    """Draw the modules afresh whose initial weights were found to be of a wrong scale."""


class Cure(Section):
    """Changes of the set-up that are made together. What is not written stays as it is."""

    noun = "cure"
    clip: _Number | None = None
    """Gradients with a larger total L2 norm are scaled down to it."""
    lr: _Number | None = None
    """What every learning rate is multiplied by, for good."""
    momentum: Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)] | None = None
    """The momentum of every parameter group that has one (the first beta of Adam and its kin is not it)."""
    eps: _Number | None = None
    """The term that keeps the optimizer's divisor away from zero, in every parameter group that has one."""
    reinitialize_flagged: Annotated[bool, Field(strict=True)] = False
    """Whether the modules are drawn afresh whose initial weights were found to be of a wrong scale."""

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if self == Cure.model_construct():
            written = sorted(self.model_fields_set)
            raise conflict("has no change in it", "write `keep`, or what it changes, as `clip: 1.0`", *written)
        return self

    @model_serializer(mode="wrap")
    def _what_is_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None and value is not False}

    @property
    def label(self) -> str:
        """How it is named in events and tables: `clip 1.0 + lr 0.1`."""
        parts = ["reinitialize_flagged"] if self.reinitialize_flagged else []
        numbers = {"clip": self.clip, "lr": self.lr, "momentum": self.momentum, "eps": self.eps}
        parts += [f"{name} {value!r}" for name, value in numbers.items() if value is not None]
        return " + ".join(parts)


WrittenCure = NamedCure | Cure
"""A cure as it stands in a policy."""

_Written = Annotated[
    Annotated[NamedCure, Tag("word")] | Annotated[Cure, Tag("changes")],
    Discriminator(lambda value: "word" if isinstance(value, str) else "changes"),
]


def changes_of(written: WrittenCure) -> Cure | None:
    """What a cure changes; None for `keep`."""
    if isinstance(written, Cure):
        return written
    return Cure(reinitialize_flagged=True) if written is NamedCure.REINITIALIZE_FLAGGED else None


def label_of(written: WrittenCure) -> str:
    """How a cure is named in events and tables."""
    return written.label if isinstance(written, Cure) else written.value


DEFAULT_CURES: tuple[WrittenCure, ...] = (
    NamedCure.KEEP,
    Cure(clip=1.0),
    Cure(lr=0.1),
    Cure(lr=0.01),
    Cure(lr=0.001),
    Cure(lr=10.0),
    Cure(momentum=0.9),
    Cure(eps=1e-8),
    NamedCure.REINITIALIZE_FLAGGED,
    Cure(reinitialize_flagged=True, clip=1.0),
    Cure(clip=1.0, lr=0.1),
    Cure(clip=1.0, lr=0.01),
    Cure(eps=1e-4),
)
"""From what intrudes least: the first of those that help as much is taken. The last is for weights in half precision,
where an eps of 1e-8 is zero."""

_Share = Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)]


class TryCuresRung(LimitedRung):
    """Try changes of the set-up on forks, and keep the one that helps."""

    action: Literal[ActionName.TRY_CURES] = ActionName.TRY_CURES
    attempts: Count = 1
    """How often in one incident before the next rung is tried."""
    steps: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 40
    """Updates that each fork is trained for."""
    probe_batches: Annotated[int, Field(strict=True, ge=1, le=1000)] = 8
    """Updates whose batches no fork is trained on, and by whose median loss each is judged."""
    improve: _Share = 0.1
    """By how much of its loss a cure has to be better than `keep`."""
    tolerance: _Share = 0.1
    """Cures whose loss is that close to the best one's are as good; the first of them in the list is taken."""
    cures: Annotated[tuple[_Written, ...], Field(min_length=1, max_length=100)] = DEFAULT_CURES
    """What is tried, from what intrudes least; `keep` is always tried."""
    limit: UseLimit = UseLimit(uses=2, window_updates=5000)
    """Budget over all incidents. It cannot be null: a run that goes back without limit may never end."""

    @field_validator("cures", mode="after")
    @classmethod
    def _keep_is_first(cls, cures: tuple[Any, ...]) -> tuple[Any, ...]:
        return (NamedCure.KEEP, *(each for each in cures if each is not NamedCure.KEEP))
