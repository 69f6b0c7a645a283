"""Which sink a section of the job makes, and what it needs."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.written_run import WrittenRun

from supervisor.job import Sinks
from supervisor.sinks import choice
from supervisor.sinks.choice import NEEDS, Needs, builder, missing_package
from supervisor.testing.clock import FakeClock

ROOT = Path(__file__).resolve().parents[3]
NAMES = [name for name in Sinks.model_fields if name != "flush_seconds"]


def settings(name: str) -> dict[str, Any]:
    return {"url_env": "HOOK"} if name == "webhook" else {}


@pytest.mark.parametrize("name", NAMES)
def test_every_section_of_the_job_makes_a_sink(tmp_path: Path, name: str) -> None:
    if missing_package(name) is not None:
        pytest.skip("its package is not installed")
    chosen = Sinks.model_validate({name: settings(name)}).on()
    (section,) = chosen.values()
    run = WrittenRun(tmp_path)
    made = builder(name, section, run.about, FakeClock(), "http://127.0.0.1:9/")()
    assert type(made).__module__.startswith("supervisor.sinks.")
    # Before it is opened nothing is written.
    assert not run.layout.sinks.exists()


def test_a_section_that_is_no_sink_makes_none(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    with pytest.raises(TypeError, match="no sink is made of Sinks"):
        builder("all", Sinks(), run.about, FakeClock(), None)()


def test_each_extra_installs_what_its_sink_needs() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for needs in NEEDS.values():
        assert any(each.startswith(needs.package) for each in extras[needs.extra]), needs
    assert extras["opentelemetry"] == extras["otel"]


def test_a_package_that_is_not_there_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    needs = Needs("no-such-package", "tensorboard", ("no_such_module.at_all",))
    monkeypatch.setitem(NEEDS, "tensorboard", needs)
    assert missing_package("tensorboard") == needs
    assert missing_package("csv") is None


def test_a_folder_of_the_name_of_a_package_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As W&B leaves one in the working directory."""
    (tmp_path / "no_such_module").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.util.find_spec("no_such_module") is not None
    monkeypatch.setitem(NEEDS, "wandb", Needs("w", "wandb", ("no_such_module",)))
    assert missing_package("wandb") is not None


def test_to_ask_imports_nothing_of_them() -> None:
    heavy = {each.partition(".")[0] for needs in choice.NEEDS.values() for each in needs.modules} - {"opentelemetry"}
    script = (
        "import sys; from supervisor.sinks.choice import NEEDS, missing_package\n"
        "for name in NEEDS: missing_package(name)\n"
        f"assert not {heavy | {'numpy', 'requests', 'opentelemetry.sdk.trace'}!r} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
