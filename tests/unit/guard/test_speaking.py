"""A guard in a loop of one's own says on stderr what it does, and nothing while all is well."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import EventList, build, guard_of, healthy_batches, nan_batch, quiet, spoilt_at

from supervisor.errors import PolicyHalt

BATCHES = healthy_batches(12)
WITH_A_BAD_ONE = [*BATCHES[:4], nan_batch(BATCHES[4]), *BATCHES[5:]]
SAID = "nonfinite_loss  bad data: sample 2 of the batch"
FAULT = "nonfinite_loss: sample 2 of the batch: not all of its values are finite"
HALT = quiet(ladder=[{"action": "halt"}])


def test_a_healthy_run_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    guard_of(build(), BATCHES).run(60)
    assert capsys.readouterr() == ("", "")


def test_a_skipped_batch_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    guard = guard_of(build(), WITH_A_BAD_ONE)
    for batch in guard.batches(12):
        guard.step(batch)
    assert capsys.readouterr() == ("", f"supervisor: step 4  {SAID}  → skipped\n")


def test_one_whose_cause_cannot_be_found_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    heard = EventList()
    guard_of(build(), WITH_A_BAD_ONE, replay=False, listeners=[heard]).run(12)
    assert len(heard.named("warning")) == 1
    assert capsys.readouterr().err == "supervisor: step 4  nonfinite_loss  loss nan  → skipped\n"


def test_a_reload_says_where_it_went(capsys: pytest.CaptureFixture[str]) -> None:
    training, guard = build(), []  # type: Training, list[Any]
    policy = quiet(snapshot={"every_steps": 10}, probation_steps=3)
    guard.append(guard_of(training, BATCHES, loss=spoilt_at(training, 45, guard), policy=policy))
    guard[0].run(60)
    found = "nonfinite_parameter  outer.weight was not finite"
    assert capsys.readouterr().err == f"supervisor: step 45  {found}  → back to step 40\n"


def test_a_halt_says_why_and_so_does_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    guard = guard_of(build(), WITH_A_BAD_ONE, policy=HALT)
    summary = guard.run(12)
    assert (summary.status, summary.reason) == ("halted", FAULT)
    assert guard.summary().reason == summary.reason
    assert capsys.readouterr().err == f"supervisor: step 4  halted: {summary.reason}  → back to step 0\n"
    with pytest.raises(PolicyHalt):
        guard.step(BATCHES[0])
    assert capsys.readouterr().err == ""


def test_the_reason_is_still_known_after_a_resume(tmp_path: Any) -> None:
    first = guard_of(build(), WITH_A_BAD_ONE, policy=HALT, run_dir=tmp_path / "run").run(12)
    again = guard_of(build(), WITH_A_BAD_ONE, policy=HALT, run_dir=tmp_path / "run", resume=True).run(12)
    assert (again.status, again.reason) == ("halted", first.reason)
    assert guard_of(build(), BATCHES).run(3).reason is None


def test_a_quiet_one_says_nothing_and_others_hear_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    heard = EventList()
    summary = guard_of(build(), WITH_A_BAD_ONE, policy=HALT, quiet=True, listeners=[heard]).run(12)
    assert summary.status == "halted"
    assert heard.named("run_halted")
    assert capsys.readouterr() == ("", "")


def closed() -> io.StringIO:
    file = io.StringIO()
    file.close()
    return file


@pytest.mark.parametrize("stream", [None, closed(), io.TextIOWrapper(io.BytesIO(), "ascii")])
def test_a_broken_stderr_changes_nothing(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(**options: Any) -> tuple[Any, Any]:
        training = build()

        def loss(batch: Any) -> torch.Tensor:
            if len(batch) == 3:
                raise ValueError("zu groß")
            return training.loss(batch)

        data = [*WITH_A_BAD_ONE, (*BATCHES[0], "more")]
        policy = quiet(cooldown_steps=3)
        return guard_of(training, data, loss=loss, policy=policy, **options).run(20), everything(training)

    summary, state = run(quiet=True)
    monkeypatch.setattr(sys, "stderr", stream)
    with_a_broken_one, found = run()
    assert with_a_broken_one.incidents == summary.incidents == 3
    assert_same(found, state)


def test_a_bad_row_in_every_epoch_does_not_flood(capsys: pytest.CaptureFixture[str]) -> None:
    policy = quiet(cooldown_steps=3, diagnose={"quarantine": False})
    summary = guard_of(build(), WITH_A_BAD_ONE, policy=policy).run(12 * 50)
    lines = capsys.readouterr().err.splitlines()
    assert summary.incidents == 50
    assert len(lines) == 20 + 1 + 1
    assert lines[19].endswith("(20 such lines so far: the next one is said at 40)")
    assert lines[20].endswith("(40 such lines so far: the next one is said at 80)")
    assert lines[21] == "supervisor: finished after 600 steps with 50 incidents"
