"""Every error the supervisor raises on purpose, the exit codes they end in, and the text of any exception.

SupervisorError
├── InputError          the job, the policy, a flag or the trainer's config is wrong   exit 2
│   └── PolicyMisfit    the policy does not fit the model it is for                     exit 2
├── CheckpointError     a checkpoint cannot be trusted or cannot be written
├── ActionError         a recovery action could not be carried out
└── PolicyHalt          the ladder ended in `halt`                                      exit 3
"""

from __future__ import annotations

import enum
import traceback

from supervisor.display import writable

__all__ = [
    "ActionError",
    "CheckpointError",
    "ExitCode",
    "InputError",
    "PolicyHalt",
    "PolicyMisfit",
    "SupervisorError",
    "said_by",
    "text_of",
    "traceback_of",
    "with_article",
]


LONGEST_MESSAGE = 4000
"""How much of an exception's message is kept, in characters: its beginning and its end."""

LONGEST_TRACEBACK = 40_000
"""Likewise of a traceback."""


class ExitCode(enum.IntEnum):
    """What a `supervisor` process ends with."""

    FINISHED = 0
    """The schedule is done, and a verified checkpoint of its last step is on disk."""
    BUG = 1
    """A mistake in this program: please report it, with the traceback."""
    BAD_INPUT = 2
    """The job, the policy, a flag or the trainer is wrong; the message says where, and what to write."""
    HALTED = 3
    """The policy's ladder ended in `halt`: `supervisor explain RUN_DIR` says why."""
    RESTARTS_SPENT = 4
    """The worker process died or stood still more often than `restart` allows."""
    UNSAVED = 5
    """The run ended, and its last state could not be written: the message says what is lost, and what to go on from."""
    INTERRUPTED = 75
    """Stopped by a signal after a verified checkpoint of its last step: `--resume` goes on from there."""


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


def text_of(error: BaseException) -> str:
    """What an exception says, whatever its class: nothing is raised, and any file takes the text.

    A class of the user's may raise in its own `__str__`, a text may hold what UTF-8 cannot write, as the name of a file
    that is not UTF-8, and it may be as long as what it complains about: of more than 4,000 characters the middle is
    left out.
    """
    try:
        text = str(error)
    except Exception as raised:  # noqa: BLE001  (the user's `__str__` may raise anything)
        text = f"its text cannot be made, str() of it raises {type(raised).__name__}"
    return _without_middle(writable(text), LONGEST_MESSAGE)


def said_by(error: BaseException) -> str:
    """Its class and its text, as `ValueError: no such row`; the class alone where it has no text."""
    text = text_of(error)
    return f"{type(error).__name__}: {text}" if text.strip() else type(error).__name__


def traceback_of(error: BaseException) -> str:
    """Its traceback, as Python prints it; of what is very long in it the middle is left out."""
    lines = "".join(traceback.format_exception(error)).splitlines()
    text = "\n".join(_without_middle(writable(line), LONGEST_MESSAGE) for line in lines)
    return _without_middle(text, LONGEST_TRACEBACK) + "\n"


def _without_middle(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]} … ({len(text) - 2 * half} characters left out) … {text[-half:]}"


def with_article(value: object) -> str:
    """What a value is, with its article, for a message: `an int`, `a Tensor`, `None`."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeio' else 'a'} {name}"
