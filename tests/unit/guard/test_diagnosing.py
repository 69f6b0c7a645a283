"""When a diagnosis is due, what it is given, and the files that go with it."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same
from support.parts import NAN_LOSS, attempt_of, policy_of, subject_of
from support.recorder import Calls, Recorder

from supervisor.diagnosis import Diagnosis, load_bundle_file
from supervisor.guard.diagnosing import Diagnostician
from supervisor.record.run_ledger import RunLedger
from supervisor.records import CauseKind, Observation
from supervisor.run_layout import RunLayout
from supervisor.signals import Detectors
from supervisor.states import RestorePoints
from supervisor.states.canary import Canaries
from supervisor.states.restore_points import SpareCopies
from supervisor.testing.clock import FakeClock
from supervisor.testing.tiny import TinyTrainer, with_nan
from supervisor.training.data_position import DataPosition
from supervisor.update import Attempt, Executor


class Setting:
    """A diagnostician whose executor finds a replay of a sound batch healthy, or as it is told."""

    def __init__(self, root: Path | None = None, indices: Any = None, loss: float = 1.0, **diagnose: Any) -> None:
        self.calls = calls = Calls()
        self.trainer, self.clock, self.loss = TinyTrainer(), FakeClock(), loss
        policy = policy_of(diagnose=diagnose)
        self.subject, self.ledger = subject_of(self.trainer), RunLedger(policy, self.clock)
        data: Any = Recorder(DataPosition, "data", calls, last_number=6, recent_indices=indices)
        executor: Any = Recorder(Executor, "executor", calls, no_replay=None, replay=lambda *args: self.replay(*args))
        points = RestorePoints(self.subject, data, self.ledger, SpareCopies())
        layout = None if root is None else RunLayout(root)
        canaries: Any = Recorder(Canaries, "canaries", calls, newest=(self.trainer.data[1],))
        self.diagnostician = Diagnostician(policy, points, executor, Detectors(policy), layout, self.clock, canaries)

    def replay(self, batches: Any, place: Any, watch: Any = None) -> Observation:
        self.clock.advance(0.5)
        bad = any(bool(batch[0].isnan().any()) for batch in batches)
        return Observation(place.step, place.update, math.nan if bad else self.loss, 1.0)

    def attempt(self, *, drawn: bool = True, bad: bool = True) -> Attempt:
        batch = with_nan(self.trainer.data[0], row=5) if bad else self.trainer.data[0]
        attempt = attempt_of(8, 9, batch, before=self.subject.capture_volatile(), loss=math.nan)
        attempt.drawn, attempt.signals = drawn, NAN_LOSS
        return attempt

    def spend(self, replays: int) -> None:
        """Replays of an open incident."""
        self.ledger.decide(self.attempt(), NAN_LOSS, {}, cause=None, can_retry=False)
        self.ledger.diagnosed(Diagnosis(None, replays=replays))


class TestFindingTheCause:
    def test_the_samples_at_fault_are_named_by_their_place_in_the_data(self) -> None:
        setting = Setting(indices=[f"row-{position}" for position in range(8)])
        found = setting.diagnostician.diagnose(setting.attempt())
        assert found is not None
        assert found.cause is not None
        assert (found.cause.kind, found.cause.samples, found.cause.dataset_indices) == (
            CauseKind.BAD_INPUT,
            (5,),
            ("row-5",),
        )
        assert (found.cause.step, found.cause.update, found.cause.batch_number) == (8, 9, 6)

    @pytest.mark.parametrize(("drawn", "indices"), [(False, list(range(8))), (True, None)])
    def test_where_nobody_knows_that_place_the_positions_alone_are(self, drawn: bool, indices: Any) -> None:
        setting = Setting(indices=indices)
        found = setting.diagnostician.diagnose(setting.attempt(drawn=drawn))
        assert found is not None
        assert found.cause is not None
        assert (found.cause.samples, found.cause.dataset_indices) == ((5,), ())
        assert ("data.recent_indices" in setting.calls) is drawn

    def test_a_replay_that_would_not_have_been_flagged_is_healthy(self) -> None:
        setting = Setting(indices=list(range(8)))
        found = setting.diagnostician.diagnose(setting.attempt(bad=False))
        assert found is not None
        assert found.cause is not None
        assert (found.cause.kind, found.cause.dataset_indices) == (CauseKind.NOT_REPRODUCIBLE, ())
        assert found.cause.seconds == 0.5 * found.replays > 0

    def test_one_that_is_flagged_again_is_not(self) -> None:
        setting = Setting(loss=math.nan)
        found = setting.diagnostician.diagnose(setting.attempt(bad=False))
        assert found is not None
        assert found.cause is None or found.cause.kind is not CauseKind.NOT_REPRODUCIBLE


class TestWhatElseIsKnown:
    @pytest.mark.parametrize(("step", "known"), [(20, True), (21, None)])
    def test_the_state_was_finite_where_it_was_checked_after_the_step_before(
        self, step: int, known: bool | None
    ) -> None:
        setting = Setting()
        attempt = attempt_of(step, step, before=setting.subject.capture_volatile(), bad_parameters=("inner.weight",))
        found = setting.diagnostician.diagnose(attempt)
        assert found is not None
        assert found.cause is not None
        assert found.cause.finite_before is known

    def test_an_earlier_batch_is_run_where_neither_values_nor_samples_explain_it(self) -> None:
        setting = Setting()

        def replay(batches: Any, place: Any, watch: Any = None) -> Observation:
            earlier = len(batches) == 1 and batches[0] is setting.trainer.data[1]
            return Observation(place.step, place.update, 1.0 if earlier else math.inf, 1.0)

        setting.replay = replay  # type: ignore[method-assign]
        found = setting.diagnostician.diagnose(setting.attempt(bad=False))
        assert found is not None
        assert found.cause is not None
        assert (found.cause.kind, found.cause.earlier_batch_healthy) == (CauseKind.LOSS_FUNCTION, True)


class TestBounds:
    def test_nobody_looks_where_the_policy_does_not_want_to_know(self) -> None:
        setting = Setting(enabled=False)
        assert setting.diagnostician.diagnose(setting.attempt()) is None
        assert setting.calls == []

    def test_the_replays_of_an_incident_are_counted_together(self) -> None:
        setting = Setting(max_replays=5, loss=math.nan)
        setting.spend(3)
        found = setting.diagnostician.diagnose(setting.attempt(bad=False))
        assert found is not None
        assert found.replays == setting.calls.count("executor.replay") == 2
        setting.spend(2)
        setting.calls.clear()
        assert setting.diagnostician.diagnose(setting.attempt()) is None
        assert setting.calls == []

    def test_it_leaves_no_trace(self) -> None:
        setting = Setting()
        attempt = setting.attempt(bad=False)
        before = setting.subject.capture().to_tree()
        setting.diagnostician.diagnose(attempt)
        assert_same(setting.subject.capture().to_tree(), before)


class TestBundles:
    def folder(self, root: Path, incident: int) -> list[str]:
        return sorted(path.name for path in RunLayout(root).incident(incident).glob("*"))

    def test_the_batch_and_the_state_are_written_beside_the_incident(self, tmp_path: Path) -> None:
        setting = Setting(tmp_path)
        bundle = setting.diagnostician.write_bundle(3, setting.attempt())
        assert bundle is not None
        assert (bundle.batch, bundle.state, bundle.note) == ("batch.pt", "state.pt", None)
        assert self.folder(tmp_path, 3) == ["batch.pt", "state.pt"]
        (batch,) = load_bundle_file(RunLayout(tmp_path).incident(3) / "batch.pt")
        assert batch[0].isnan().nonzero().tolist() == [[5, 1]]
        assert torch.equal(batch[1], setting.trainer.data[0][1])

    @pytest.mark.parametrize("why", ["no directory", "off", "no room"])
    def test_none_is_written_where_it_cannot_or_shall_not_be(self, why: str, tmp_path: Path) -> None:
        diagnose = {"off": {"enabled": False}, "no room": {"max_bundle_mb": 0}}.get(why, {})
        setting = Setting(None if why == "no directory" else tmp_path, **diagnose)
        assert setting.diagnostician.write_bundle(1, setting.attempt()) is None
        assert list(tmp_path.iterdir()) == []

    def test_the_newest_incidents_keep_theirs_and_every_record_stays(self, tmp_path: Path) -> None:
        setting = Setting(tmp_path, keep_bundles=2)
        for incident in (1, 2, 3):
            setting.diagnostician.write_bundle(incident, setting.attempt())
            (RunLayout(tmp_path).incident(incident) / "incident.json").write_text("{}", encoding="utf-8")
        assert [self.folder(tmp_path, incident) for incident in (1, 2, 3)] == [
            ["incident.json"],
            ["batch.pt", "incident.json", "state.pt"],
            ["batch.pt", "incident.json", "state.pt"],
        ]

    def test_what_does_not_fit_is_left_out_and_said_so(self, tmp_path: Path) -> None:
        setting = Setting(tmp_path, max_bundle_mb=1)
        attempt = replace(setting.attempt(), batches=(torch.zeros(2**20),))
        bundle = setting.diagnostician.write_bundle(1, attempt)
        assert bundle is not None
        assert (bundle.batch, bundle.state) == (None, "state.pt")
        assert "batch.pt would take 4.0 MiB" in (bundle.note or "")
