"""`supervisor init`: a job, a policy and a trainer that run as they are, to change piece by piece."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from supervisor.cli.output import print_text
from supervisor.errors import InputError

__all__ = ["FILES", "init"]

FILES = ("job.yaml", "policy.yaml", "my_trainer.py")
"""What is written."""


def init(
    directory: Annotated[
        str, typer.Argument(help="Where to; made where it is missing.", metavar="DIR", show_default=False)
    ],
) -> None:
    """Write a job, a policy and a trainer that run as they are, each line explained.

    The training takes about ten seconds on a CPU. A directory that has a file of one of these names is left as it is.
    """
    folder = Path(directory)
    starter = files("supervisor") / "starter"
    try:
        there = [name for name in FILES if (folder / name).exists() or (folder / name).is_symlink()]
        if there:
            raise InputError(f"{directory}: holds {', '.join(there)} already: choose another directory")
        folder.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            # Never over a file that came in between.
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write((starter / name).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{directory}: cannot be written ({error.strerror}): choose another directory") from error
    where = "" if folder.resolve() == Path.cwd() else f"cd {directory} && "
    print_text(f"wrote {', '.join(FILES)} to {directory}\n{where}supervisor run job.yaml")
