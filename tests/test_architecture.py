"""Which way the imports point, what stays free of torch, and how long a file may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("supervisor", "energy_flow")

MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "clock": set(),
    "records": set(),
    "run_layout": set(),
    "version": set(),
    "config": {"errors"},
    "policy": {"config", "errors", "records"},
    "signals": {"policy", "records"},
    "engine": {"policy", "records"},
    "events": {"clock", "errors", "records", "run_layout"},
    "report": {"clock", "errors", "events", "records", "run_layout"},
    "replay": {"engine", "errors", "events", "policy", "records", "run_layout", "signals"},
    "testing": {"clock"},
    "training": {"errors", "policy", "records", "signals"},
    "checkpoints": {"clock", "errors", "run_layout", "training"},
    "update": {"records", "training"},
    "actions": {"errors", "policy", "records", "training"},
    "diagnosis": {"clock", "errors", "events", "records", "run_layout", "training", "update"},
    "record": {
        "actions",
        "checkpoints",
        "clock",
        "diagnosis",
        "engine",
        "errors",
        "events",
        "policy",
        "records",
        "run_layout",
        "training",
        "update",
        "version",
    },
    "states": {
        "actions",
        "checkpoints",
        "diagnosis",
        "errors",
        "events",
        "policy",
        "record",
        "records",
        "training",
        "update",
    },
    "faults": {"checkpoints", "clock", "config", "errors", "events", "run_layout", "training"},
    "job": {"config", "errors", "faults", "policy", "run_layout"},
    "guard": {
        "actions",
        "clock",
        "diagnosis",
        "errors",
        "events",
        "policy",
        "record",
        "records",
        "run_layout",
        "signals",
        "states",
        "training",
        "update",
    },
    "process": {
        "clock",
        "config",
        "diagnosis",
        "errors",
        "events",
        "faults",
        "guard",
        "job",
        "policy",
        "record",
        "report",
        "run_layout",
        "training",
        "update",
    },
    "rehearsal": {"errors", "events", "faults", "job", "process", "report", "run_layout"},
    "cli": {"errors", "events", "job", "policy", "process", "rehearsal", "replay", "report", "run_layout"},
    "__main__": {"cli"},
}
"""Rooms of `supervisor`, lowest first: each may import itself and these, and nothing from above."""

FREE_OF_TORCH = [
    "supervisor",
    "supervisor.run_layout",
    "supervisor.engine",
    "supervisor.signals",
    "supervisor.config.fixes",
    "supervisor.config.yaml_dump",
    "supervisor.config.yaml_source",
    "supervisor.policy",
    "supervisor.events",
    "supervisor.events.writer",
    "supervisor.events.console",
    "supervisor.report.story_view",
    "supervisor.report.tables",
    "supervisor.replay",
    "supervisor.rehearsal",
    "supervisor.job",
    "supervisor.faults",
    "supervisor.testing.clock",
    "supervisor.testing.events",
    "supervisor.process.parent",
    "supervisor.cli.app",
]


def sources(package: str) -> list[Path]:
    return sorted(path for path in (ROOT / package).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, inside functions too, as absolute names."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                inner = ROOT / Path(*base.split(".")) / alias.name
                yield f"{base}.{alias.name}" if inner.is_dir() or inner.with_suffix(".py").is_file() else base


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


@pytest.mark.parametrize("path", sources("supervisor"), ids=module_of)
def test_imports_of_the_supervisor_point_one_way(path: Path) -> None:
    here = room(module_of(path))
    if here == "":
        # The package itself: its public names are resolved lazily, and for type checkers alone.
        return
    allowed = MAY_IMPORT[here] | {here}
    wrong = [name for name in imported(path) if name.split(".")[0] == "supervisor" and room(name) not in allowed]
    assert wrong == [], f"{module_of(path)} imports {wrong}"


def test_the_rooms_are_in_order() -> None:
    """Nothing may import what stands below it, so there is no cycle."""
    order = [*MAY_IMPORT]
    for name, allowed in MAY_IMPORT.items():
        late = [other for other in allowed if order.index(other) >= order.index(name)]
        assert late == [], f"{name} may import {late}, which stand below it"
    found = {room(module_of(path)) for path in sources("supervisor")} - {""}
    assert found <= set(order), f"unknown rooms: {found - set(order)}"


def test_the_two_packages_meet_in_one_file() -> None:
    for path in sources("supervisor"):
        assert not [name for name in imported(path) if name.split(".")[0] == "energy_flow"], path.name
    meeting = {
        path.name for path in sources("energy_flow") if any(n.split(".")[0] == "supervisor" for n in imported(path))
    }
    assert meeting <= {"energy_trainer.py"}


def test_the_public_names_are_resolved_lazily() -> None:
    script = (
        "import sys, supervisor; assert 'torch' not in sys.modules;"
        "assert all(hasattr(supervisor, name) for name in supervisor.__all__); assert 'torch' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_the_parent_needs_stays_free_of_torch() -> None:
    """In one fresh interpreter: the first that brings one in is named. Numpy is as unwelcome, as slow to load."""
    script = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    found = [n for n in ('torch', 'numpy', 'sklearn', 'energy_flow') if n in sys.modules]\n"
        "    assert not found, f'{name} imports {found}'\n"
    )
    command = [sys.executable, "-c", script, *FREE_OF_TORCH]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_outgrows_a_reader(package: str) -> None:
    long = {}
    for path in sources(package):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > 300:
            long[module_of(path)] = lines
    assert long == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_says_what_it_is_for(package: str) -> None:
    silent = [module_of(p) for p in sources(package) if not ast.get_docstring(ast.parse(p.read_text(encoding="utf-8")))]
    assert silent == []
