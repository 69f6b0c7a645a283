"""A checkpoint evaluated in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.saved import saved_run

from supervisor.errors import ExitCode
from supervisor.job import ResolvedJob
from supervisor.process.evaluate_entry import main

Resolve = Callable[..., ResolvedJob]

pytestmark = pytest.mark.usefixtures("process_as_before")


def test_its_metrics_are_printed_under_which_checkpoint_it_is(
    resolve: Resolve, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = saved_run(resolve)
    capsys.readouterr()
    assert main([str(run_dir)]) == ExitCode.FINISHED
    printed, first, *rest = capsys.readouterr().out.splitlines()
    assert printed == "evaluating"
    assert first.startswith("checkpoint of step 8 (best: score 0.9), step-00000008: evaluated in ")
    assert rest[0] == "score  0.9"
    assert rest[-1] == "nan    nan"


def test_for_machines_it_is_one_strict_json_object(resolve: Resolve, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = saved_run(resolve)
    capsys.readouterr()
    assert main([str(run_dir), "--checkpoint", "last", "--json"]) == ExitCode.FINISHED
    out = capsys.readouterr()
    found = json.loads(out.out)
    assert (found["run_id"], found["step"], found["which"]) == ("abc", 12, "last")
    assert (found["metrics"]["score"], found["metrics"]["nan"]) == (0.3, "nan")
    assert "evaluating" in out.err, "what the trainer prints"


@pytest.mark.parametrize(
    ("values", "arguments", "said"),
    [
        (
            {"trainer": "saved:Blind", "evaluate_every_steps": None, "keep_best": None},
            [],
            "Blind has no evaluate: give",
        ),
        ({"run": False}, [], "run: has no checkpoint yet"),
        ({"keep_best": None}, ["--checkpoint", "best"], "its job keeps no best checkpoint"),
    ],
)
def test_what_is_not_there_is_bad_input(
    resolve: Resolve, capsys: pytest.CaptureFixture[str], values: dict[str, object], arguments: list[str], said: str
) -> None:
    run_dir = saved_run(resolve, **values)  # type: ignore[arg-type]
    capsys.readouterr()
    assert main([str(run_dir), *arguments]) == ExitCode.BAD_INPUT
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert "Traceback" not in told.err


def test_one_that_raises_is_shown_with_its_traceback(resolve: Resolve, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = saved_run(resolve, config={"raises": True})
    capsys.readouterr()
    assert main([str(run_dir)]) == ExitCode.BAD_INPUT
    lines = capsys.readouterr().err.splitlines()
    assert str(Path("saved.py").absolute()) in lines[1], "it begins where the user's code does"
    assert lines[-1] == "the evaluation failed: ValueError: no held-out data"
