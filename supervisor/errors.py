"""Every error the supervisor raises on purpose, and the exit codes they end in.

SupervisorError
├── InputError          the job, the policy, a flag or the trainer's config is wrong   exit 2
│   └── PolicyMisfit    the policy does not fit the model it is for                     exit 2
├── CheckpointError     a checkpoint cannot be trusted or cannot be written
├── ActionError         a recovery action could not be carried out
└── PolicyHalt          the ladder ended in `halt`                                      exit 3
"""

from __future__ import annotations

import enum

__all__ = [
    "ActionError",
    "CheckpointError",
    "ExitCode",
    "InputError",
    "PolicyHalt",
    "PolicyMisfit",
    "SupervisorError",
    "kind_of",
]


class ExitCode(enum.IntEnum):
    """What a `supervisor` process ends with."""

    FINISHED = 0
    BUG = 1
    BAD_INPUT = 2
    HALTED = 3
    RESTARTS_SPENT = 4
    INTERRUPTED = 75


class SupervisorError(Exception):
    """Base of all errors raised on purpose."""


class InputError(SupervisorError):
    """Something the user wrote is wrong.

    Args:
        problems: one line each, as `file:line: key: what is wrong: what to write` where a file is at fault.
    """

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class PolicyMisfit(InputError):
    """A policy that is right by itself does not fit the model.

    Args:
        path: the key at fault, as `("ladder", 3, "modules")`.
        what: what is wrong, and what to write instead.
    """

    def __init__(self, path: tuple[str | int, ...], what: str) -> None:
        super().__init__(f"policy: {'.'.join(str(part) for part in path)}: {what}")
        self.path, self.what = path, what


class CheckpointError(SupervisorError):
    """A checkpoint is torn, altered, non-finite, or could not be written."""


class ActionError(SupervisorError):
    """A recovery action could not do its work; the engine passes on to the next rung."""


class PolicyHalt(SupervisorError):
    """The ladder ended: the model is left in the newest good state, or as it is where that is sound."""


def kind_of(value: object) -> str:
    """What a value is, with its article, for a message: `an int`, `a Tensor`, `None`."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeio' else 'a'} {name}"
