"""Where the fresh process begins that says what a trainer takes where a config says nothing."""

from __future__ import annotations

import json
import sys
from typing import Any, get_type_hints

from pydantic import BaseModel

from supervisor.config.origins import Origins
from supervisor.errors import ExitCode
from supervisor.process.trainer_loading import find_trainer
from supervisor.streams import end, ready_streams, tell

__all__ = ["config_model", "main"]


def main(arguments: list[str]) -> int:
    """Print the whole config of `MODULE:CLASS`, of which standard input holds what is written; the exit code."""
    ready_streams()
    (trainer,) = arguments
    try:
        kind = config_model(find_trainer(trainer, Origins("the job")))
        if kind is None:
            return ExitCode.BAD_INPUT
        whole = kind.model_validate(json.loads(sys.stdin.read()))
        tell(json.dumps(whole.model_dump(mode="json", by_alias=True)), "stdout")
    except (Exception, SystemExit):  # noqa: BLE001  (the user's module may raise anything; only a message asks)
        return ExitCode.BAD_INPUT
    return ExitCode.FINISHED


def config_model(trainer: Any) -> type[BaseModel] | None:
    """The pydantic model that a trainer's constructor takes, by its annotation; None where it names none."""
    for hint in get_type_hints(trainer.__init__).values():
        if isinstance(hint, type) and issubclass(hint, BaseModel):
            return hint
    return None


if __name__ == "__main__":
    end(main(sys.argv[1:]))
