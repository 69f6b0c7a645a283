"""Makes `.venv` with all that the commands of the Makefile need: `python3 scripts/make_venv.py .venv`.

It says it is ready only once it is whole, in `.venv/.ready`: one whose making was interrupted is made anew, and of two
commands that find none one waits for the other. What is ready is left alone until pyproject.toml or constraints.txt
says something else; that files are newer, as after a checkout, says nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLDEST = (3, 11)


def made_of(venv: Path) -> list[str]:
    """What a ready one was made of: place and interpreter, which it cannot outlive, and what was to be installed."""
    wanted = b"".join((ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt"))
    return [str(venv), sys.version.replace("\n", " "), hashlib.sha256(wanted).hexdigest()]


def interpreter() -> Path:
    """The Python that environments are made with: where this one is of an environment, perhaps of the very one that is
    to be made anew, the one that it was made with."""
    if sys.prefix == sys.base_prefix:
        return Path(sys.executable)
    return Path(sys.base_exec_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"


def install(venv: Path, *what: str) -> None:
    """Install with the pinned versions; raises `CalledProcessError` where that fails."""
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*command, "--constraint", str(ROOT / "constraints.txt"), *what], cwd=ROOT, check=True)


def make(venv: Path) -> None:
    """Make it, unless it is ready."""
    ready, wanted = venv / ".ready", made_of(venv)
    found = ready.read_text(encoding="utf-8").splitlines() if ready.is_file() else None
    if found == wanted:
        return
    # Not ready from here on, however this ends.
    ready.unlink(missing_ok=True)
    # An empty file is of before there was anything in it: made in this place, and whole.
    if found is None or found[:2] not in ([], wanted[:2]):
        shutil.rmtree(venv, ignore_errors=True)
        subprocess.run([str(interpreter()), "-m", "venv", str(venv)], check=True)
    # torch first and exactly: another version brings gigabytes of CUDA packages. setuptools builds what is last.
    install(venv, "setuptools", "torch==2.13.0")
    install(venv, "--no-build-isolation", "--editable", ".[dev]")
    part = venv / ".ready.part"
    part.write_text("\n".join(wanted) + "\n", encoding="utf-8")
    part.replace(ready)


def main() -> int:
    """One at a time in a checkout; the exit code is what `make` ends with."""
    if sys.version_info < OLDEST:
        sys.stderr.write("Python 3.11 or newer is needed: make PYTHON=python3.11\n")
        return 2
    checkout = os.open(ROOT, os.O_RDONLY)
    fcntl.flock(checkout, fcntl.LOCK_EX)
    try:
        make(ROOT / sys.argv[1])
    except subprocess.CalledProcessError as error:
        sys.stderr.write(f"{sys.argv[1]} could not be made (exit code {error.returncode} of the command above)\n")
        return 2
    finally:
        os.close(checkout)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
