"""Work of a command that needs torch and the user's trainer, in a process of its own."""

from __future__ import annotations

import subprocess

from supervisor.process.shadowing import command

__all__ = ["run_helper"]


def run_helper(module: str, *arguments: str, told: str | None = None, output: int | None = None) -> int:
    """Run a module as a program, to its end.

    Args:
        module: its name, as behind `python -m`.
        arguments: what stands behind that.
        told: text for its standard input; None: that of this process.
        output: descriptor that its standard output goes to; None: that of this process.

    Returns:
        Its exit code; the negative number of the signal that killed it.
    """
    started = [*command(module), *arguments]
    return subprocess.run(started, input=told, stdout=output, text=True, check=False).returncode
