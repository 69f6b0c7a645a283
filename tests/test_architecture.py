"""Which way the imports point, what stays free of torch, and how long a file may grow."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.source_tree import SourceTree

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("supervisor", "energy_flow")
TREE = SourceTree(ROOT)

MAY_IMPORT: dict[str, set[str]] = {
    "starter": set(),
    "display": set(),
    "streams": {"display"},
    "errors": {"display"},
    "clock": set(),
    "headroom": set(),
    "names": set(),
    "records": {"headroom", "names"},
    "evidence": set(),
    "run_layout": set(),
    "tracebacks": set(),
    "saved": {"errors"},
    "version": set(),
    "config": {"display", "errors"},
    "policy": {"config", "errors", "records"},
    "signals": {"headroom", "policy", "records"},
    "engine": {"evidence", "policy", "records"},
    "events": {"display", "streams", "evidence", "clock", "errors", "headroom", "records", "run_layout"},
    "report": {
        "display",
        "evidence",
        "clock",
        "errors",
        "events",
        "policy",
        "records",
        "run_layout",
        "saved",
        "tracebacks",
    },
    "live": {"clock", "display", "errors", "events", "policy", "report", "run_layout"},
    "page": {
        "clock",
        "config",
        "display",
        "errors",
        "events",
        "policy",
        "records",
        "report",
        "run_layout",
        "tracebacks",
        "version",
    },
    "replay": {"evidence", "engine", "errors", "events", "policy", "records", "run_layout", "signals"},
    "testing": {"clock"},
    "training": {"errors", "headroom", "policy", "records", "signals"},
    "checkpoints": {"clock", "errors", "run_layout", "saved", "training"},
    "update": {"evidence", "errors", "records", "training"},
    "actions": {"errors", "policy", "records", "training"},
    "diagnosis": {"clock", "errors", "events", "records", "run_layout", "training", "update"},
    "experiments": {
        "evidence",
        "clock",
        "diagnosis",
        "errors",
        "events",
        "headroom",
        "policy",
        "records",
        "signals",
        "training",
        "update",
    },
    "record": {
        "evidence",
        "actions",
        "checkpoints",
        "clock",
        "diagnosis",
        "engine",
        "errors",
        "events",
        "headroom",
        "policy",
        "records",
        "run_layout",
        "signals",
        "training",
        "update",
        "version",
    },
    "states": {
        "actions",
        "checkpoints",
        "clock",
        "diagnosis",
        "errors",
        "events",
        "experiments",
        "policy",
        "record",
        "records",
        "saved",
        "training",
        "update",
    },
    "faults": {"checkpoints", "clock", "config", "errors", "events", "run_layout", "saved", "training"},
    "job": {"config", "errors", "events", "faults", "policy", "run_layout"},
    "sinks": {
        "clock",
        "config",
        "display",
        "errors",
        "events",
        "job",
        "records",
        "report",
        "run_layout",
        "version",
    },
    "guard": {
        "evidence",
        "actions",
        "clock",
        "diagnosis",
        "engine",
        "errors",
        "events",
        "experiments",
        "policy",
        "record",
        "records",
        "report",
        "run_layout",
        "signals",
        "states",
        "training",
        "update",
    },
    "process": {
        "checkpoints",
        "display",
        "streams",
        "clock",
        "config",
        "diagnosis",
        "errors",
        "events",
        "faults",
        "guard",
        "job",
        "live",
        "policy",
        "record",
        "report",
        "run_layout",
        "saved",
        "sinks",
        "training",
        "tracebacks",
        "update",
    },
    "rehearsal": {"errors", "events", "faults", "job", "process", "report", "run_layout"},
    "preflight": {
        "checkpoints",
        "clock",
        "config",
        "errors",
        "events",
        "guard",
        "job",
        "policy",
        "process",
        "record",
        "records",
        "report",
        "run_layout",
        "saved",
        "streams",
        "tracebacks",
        "training",
        "update",
    },
    "cli": {
        "display",
        "streams",
        "version",
        "errors",
        "events",
        "job",
        "live",
        "page",
        "policy",
        "preflight",
        "process",
        "records",
        "rehearsal",
        "replay",
        "report",
        "run_layout",
    },
    "__main__": {"cli"},
}
"""Rooms of `supervisor`, lowest first: each may import itself and these, and nothing from above."""

FREE_OF_TORCH = [
    "supervisor",
    "supervisor.run_layout",
    "supervisor.tracebacks",
    "supervisor.saved",
    "supervisor.display",
    "supervisor.streams",
    "supervisor.engine",
    "supervisor.signals",
    "supervisor.config.fixes",
    "supervisor.config.yaml_source",
    "supervisor.policy",
    "supervisor.events",
    "supervisor.events.writer",
    "supervisor.events.console",
    "supervisor.report.story_view",
    "supervisor.report.tables",
    "supervisor.live.watching",
    "supervisor.page.building",
    "supervisor.page.rendering",
    "supervisor.replay",
    "supervisor.rehearsal",
    "supervisor.preflight",
    "supervisor.job",
    "supervisor.sinks.choice",
    "supervisor.sinks.sinks",
    "supervisor.process.sinks_entry",
    "supervisor.faults",
    "supervisor.testing.clock",
    "supervisor.testing.events",
    "supervisor.process.parent",
    "supervisor.cli.app",
]


UNTESTED: dict[str, str] = {}
"""Source modules without a unit-test module of their own, with the reason."""

ALLOWED_PRIVATE = frozenset({"_buffers", "_exit", "_forward_hooks", "_forward_pre_hooks", "_getframe", "_replace"})
"""Attributes that begin with an underscore and are no secret: of the standard library, and of torch's modules."""


def test_imports_of_the_supervisor_point_one_way() -> None:
    assert TREE.wrong_imports(MAY_IMPORT) == []


def test_the_rooms_are_in_order() -> None:
    """Nothing may import what stands below it, so there is no cycle."""
    order = [*MAY_IMPORT]
    for name, allowed in MAY_IMPORT.items():
        late = [other for other in allowed if order.index(other) >= order.index(name)]
        assert late == [], f"{name} may import {late}, which stand below it"
    assert TREE.rooms() <= set(order), f"unknown rooms: {TREE.rooms() - set(order)}"


def test_the_two_packages_meet_in_one_file() -> None:
    assert TREE.importers("supervisor", of="energy_flow") == []
    assert TREE.importers("energy_flow", of="supervisor") == ["energy_flow.energy_trainer"]


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
    assert TREE.long_files(package, 300) == {}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_says_what_it_is_for(package: str) -> None:
    assert TREE.silent(package) == []


def test_no_part_needs_more_than_seven_others() -> None:
    """Records, which only hold data, may have more fields, and so may the guard, whose arguments are its users'."""
    assert TREE.wide_constructors(7) == {
        "supervisor.engine.state.EngineState": 9,  # a record, with methods that give the next one
        "supervisor.guard.guard.Guard": 31,
        "supervisor.job.load.ResolvedJob": 9,  # likewise
    }


def test_every_source_module_has_a_unit_test_module_that_builds_it() -> None:
    """What a package's `__init__` does is to name what is in it."""
    assert TREE.untested(PACKAGES) == UNTESTED
    assert len(UNTESTED) <= 0.1 * len(TREE.modules(*PACKAGES))


def test_no_test_reaches_into_another_object() -> None:
    assert TREE.private_reaches(ALLOWED_PRIVATE) == []


def test_the_ledger_alone_changes_where_a_run_stands() -> None:
    assert TREE.writers_of("counters", "_engine") == ["supervisor.record.run_ledger"]


def test_every_file_that_the_architecture_names_is_there() -> None:
    """A bare name stands in the folder that its section, or its row of the table, is about."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = {name for name in re.findall(r"`([\w./]+\.py)`", text) if not name.startswith("step-")}
    folders = [ROOT / name for name in (*PACKAGES, "tests", "examples")]
    there = {str(path.relative_to(ROOT)) for folder in folders for path in folder.rglob("*.py")}
    missing = [name for name in named if not any(each == name or each.endswith(f"/{name}") for each in there)]
    assert missing == []
