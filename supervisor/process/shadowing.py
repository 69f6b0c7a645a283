"""Files beside the job that stand in the way of modules that the worker needs."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType

from supervisor.errors import InputError

__all__ = ["command", "library_file", "refuse_shadows", "shadows"]

_ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds the package."""

_BEFORE_ANY_FILE = frozenset({"built-in", "frozen"})
"""Modules of these origins are found before the import path is looked at."""


def command(module: str) -> tuple[str, ...]:
    """How a module of the supervisor's own is started: as by `-m`, but whatever lies in the working directory.

    Args:
        module: its qualified name.
    """
    # The package may be found through the working directory alone, in a copy of the repository.
    path = f"import sys; sys.path.append({str(_ROOT)!r})"
    run = f"import runpy; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    return (sys.executable, "-P", "-c", f"{path}; {run}")


def refuse_shadows(folder: Path, modules: Mapping[str, ModuleType] | None = None) -> None:
    """Nothing where the working directory holds no file of the name of a module that was imported from elsewhere.

    The trainer is imported with that folder first on the path, so that nobody could say which of the two is meant.

    Args:
        folder: the working directory.
        modules: those that were imported; None: all so far.

    Raises:
        InputError: it holds some.
    """
    problems = [
        f"{file}: stands in the way of {_whose(name)}, which the worker needs: rename it (the working directory comes "
        "first on the import path)"
        for name, file in shadows(folder, sys.modules if modules is None else modules)
    ]
    if problems:
        raise InputError(*problems)


def library_file(folder: Path) -> Path | None:
    """A file of a folder that was imported by the name of a module of the standard library; None where there is none.

    The standard library itself imports it then, in the place of its own.
    """
    for name in sys.stdlib_module_names:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None and folder in (Path(file).parent, Path(file).parent.parent):
            return Path(file)
    return None


def shadows(folder: Path, modules: Mapping[str, ModuleType]) -> Iterator[tuple[str, Path]]:
    """The modules that files of a folder stand in the way of, each with its file."""
    for name, module in sorted(modules.items()):
        if "." in name or getattr(getattr(module, "__spec__", None), "origin", None) in _BEFORE_ANY_FILE:
            continue
        if name in sys.builtin_module_names or getattr(module, "__file__", None) is None:
            continue
        file = next((path for path in (folder / name / "__init__.py", folder / f"{name}.py") if path.is_file()), None)
        if file is None or file.samefile(str(module.__file__)) or _is_a_copy(file):
            continue
        yield name, file


def _is_a_copy(file: Path) -> bool:
    """Whether it is this very package, in a copy of the repository that the job lies in."""
    return file.name == "__init__.py" and (file.parent / "process" / Path(__file__).name).is_file()


def _whose(name: str) -> str:
    if name == __name__.partition(".")[0]:
        return f"the supervisor's own package `{name}`"
    return f"the {'standard library' if name in sys.stdlib_module_names else 'installed'} module `{name}`"
