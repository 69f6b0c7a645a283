"""A status, and the summary at the end of a run, as people see them."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console

from supervisor.events import schema
from supervisor.events.schema import RunStatus, RunSummary
from supervisor.records import ActionName, SignalName
from supervisor.report.status import Status
from supervisor.report.tables import compare_metrics, render_status, render_summary


def show_status(status: Status) -> str:
    out = io.StringIO()
    Console(file=out, width=120).print(render_status(status))
    return out.getvalue()


def test_the_view_says_what_is_known(run):
    run.step(10, 19, loss=0.75)
    run.flag(11, 20, 20, opens=True)
    run.at(12, schema.MetricsEvent(metrics={"mrr": 0.05}))

    shown = " ".join(show_status(run.status()).split())

    for expected in (
        "run run-1",
        "state running",
        "step 21 of 100",
        "updates 21 attempted: 20 applied, 1 flagged and discarded",
        "loss 0.75 (at step 19)",
        "learning rate 0.01 (at step 19) x 1",
        "incidents 1 (nonfinite_loss 1)",
        "rung 0 (incident 1 is open)",
        "metrics mrr 0.05",
        "last event 2026-01-01 00:00:12 UTC",
    ):
        assert expected in shown


def test_the_view_of_nothing_is_short(unstarted):
    assert show_status(unstarted.status()).split() == ["state", "unknown", "incidents", "0"]


METRICS = {
    "squared_error": 0.91,
    "mrr": 0.055,
    "top1": 0.02,
    "arrival_fraction": 0.5,
    "mean_answer_mrr": 0.024,
    "ridge_mrr": 0.165,
    "ridge_squared_error": 0.847,
    "rank64_mrr": 0.1,
}


def show(summary: RunSummary, run_dir: Path | None = None, width: int = 100) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(render_summary(summary, run_dir))
    return [re.sub(r"\s+", " ", line).strip() for line in out.getvalue().splitlines()]


def test_a_key_that_ends_in_another_key_is_its_baseline():
    rows, baselines = compare_metrics(METRICS)

    assert rows == {
        "squared_error": {"ridge": 0.847},
        "mrr": {"mean_answer": 0.024, "ridge": 0.165, "rank64": 0.1},
        "top1": {},
        "arrival_fraction": {},
    }
    assert baselines == ["mean_answer", "ridge", "rank64"]


def test_a_baseline_has_no_baselines_of_its_own():
    rows, _ = compare_metrics({"error": 1.0, "squared_error": 2.0, "ridge_squared_error": 3.0})
    assert rows == {"error": {"squared": 2.0, "ridge_squared": 3.0}}


def test_metrics_stand_beside_their_baselines():
    shown = show(RunSummary(status=RunStatus.FINISHED, steps=1, applied_steps=1, metrics=METRICS))

    table = shown[shown.index("validation this run mean answer ridge rank64") :]
    assert table[1:] == [
        "squared error 0.91 0.847",
        "mrr 0.055 0.024 0.165 0.1",
        "top1 0.02",
        "arrival fraction 0.5",
    ]


def test_steps_incidents_cures_and_where_the_logs_are():
    summary = RunSummary(
        status=RunStatus.FINISHED,
        steps=2000,
        applied_steps=1996,
        skipped_steps=4,
        incidents=3,
        incidents_by_signal={SignalName.NONFINITE_LOSS: 2, SignalName.LOSS_SPIKE: 1},
        cured_by={ActionName.SKIP_BATCH: 3},
        lr_scale=0.5,
        final_loss=float("nan"),
        seconds=200,
        goodput=0.987,
    )

    shown = show(summary, Path("runs/mine"))

    assert shown == [
        "Finished",
        "steps 2000: 1996 applied",
        "skipped 4 flagged updates discarded",
        "incidents 3",
        "final loss nan",
        "learning rate cut to 0.5 of the nominal one",
        "wall time 3 min 20 s",
        "goodput 98.7%",
        "logs runs/mine/events",
        "",
        "incidents by kind cured by",
        "nonfinite_loss 2 skip_batch 3",
        "loss_spike 1",
    ]


def test_a_run_without_a_directory_or_incidents_says_nothing_of_them():
    shown = show(RunSummary(status=RunStatus.HALTED, steps=1, applied_steps=0))

    assert shown[0].startswith("Halted by the policy")
    assert not any(line.startswith(("logs", "incidents by kind", "validation")) for line in shown)


def test_a_value_of_an_earlier_step_than_the_last_says_so_and_a_halted_run_names_its_cut(run):
    run.step(10, 19)
    summary = RunSummary(status=RunStatus.HALTED, steps=26, applied_steps=26, lr_scale=0.25, final_loss=1.5)
    run.at(11, schema.RunHaltedEvent(step=25, update=25, reason="x", summary=summary))
    shown = " ".join(show_status(run.status()).split())
    assert "loss 1.5 gradient norm 2 (at step 19) learning rate 0.01 (at step 19) x 0.25" in shown
    assert "learning rate cut to 0.25 of the nominal one" in " ".join(show_status(Status(lr_scale=0.25)).split())


def test_a_halt_says_which_state_the_model_is_left_in():
    halted = RunSummary(status=RunStatus.HALTED, steps=1, applied_steps=1)
    assert show(halted)[0] == "Halted by the policy; the model is left in the newest good state"
    in_place = halted.model_copy(update={"in_place": True})
    assert show(in_place)[0] == "Halted by the policy; the model is left as it stood before the flagged update"


def test_warnings_are_counted_and_the_last_are_shown(run):
    run.at(1, schema.WarningEvent(step=3, update=3, message="the loss does not depend on the batch"))
    shown = " ".join(show_status(run.status()).split())
    assert "warnings 1: step 3: the loss does not depend on the batch" in shown
    assert run.status().warnings == 1
    summary = RunSummary(status=RunStatus.FINISHED, steps=1, applied_steps=1, warnings=2)
    assert "warnings 2: supervisor events runs/a --event warning" in show(summary, Path("runs/a"))
    assert "warnings 2" in show(summary)


def test_the_cures_in_force_are_named_at_the_end():
    summary = RunSummary(status=RunStatus.FINISHED, steps=1, applied_steps=1, cures=("lr 0.1", "clip 1.0"))
    assert "cures in force lr 0.1, clip 1.0" in show(summary)


def test_bad_batches_and_the_rows_that_are_left_out_stand_in_both_tables(run):
    run.at(1, schema.QuarantinedEvent(step=3, update=3, incident=1, dataset_indices=(4, 9)))
    # Nobody has counted bad batches: none stands beside the rows that are left out.
    alone = " ".join(show_status(run.status()).split())
    assert "rows left out 2 of the data set: 4, 9" in alone
    assert "bad batches" not in alone
    told = {"status": RunStatus.FINISHED, "steps": 1, "applied_steps": 1, "bad_batches": 3}
    summary = RunSummary(**told, quarantined=(4, 9, 11))
    assert "bad batches 3 (3 rows of the data set are left out: 4, 9, 11)" in show(summary)
    run.at(2, schema.RunFinishedEvent(status=RunStatus.FINISHED, summary=summary))
    ended = "bad batches 3 (3 rows of the data set are left out: 4, 9, 11)"
    assert ended in " ".join(show_status(run.status()).split())
    assert "bad batches 1 (1 row of the data set is left out: 4)" in show(
        RunSummary(**{**told, "bad_batches": 1}, quarantined=(4,))
    )
