"""Checkpoints of a run: saved beside the training, promoted, let go, and a disk that refuses."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from support.parts import files_no_larger_than, log_to, point_of

from supervisor.checkpoints import CheckpointStore, Kept
from supervisor.states.on_disk import StatesOnDisk
from supervisor.states.restore_points import RestorePoint, SpareCopies
from supervisor.testing.clock import FakeClock
from supervisor.testing.events import EventList

AT = (8, 9)


class SlowStore(CheckpointStore):
    """Begins to write only when the gate is open."""

    gate: threading.Event

    def write(self, step: int, update: int, tree: Any, **options: Any) -> Path:
        assert self.gate.wait(60)
        return super().write(step, update, tree, **options)


class Disk:
    """The states on disk, with all they are built of."""

    def __init__(self, folder: Path, *, keep: int = 3, probation_steps: int = 2) -> None:
        self.heard = EventList()
        self.spares = SpareCopies()
        self.store = SlowStore(folder / "checkpoints", "run", FakeClock())
        self.store.gate = threading.Event()
        self.store.gate.set()
        self.states = StatesOnDisk(keep, probation_steps, self.store, log_to(self.heard), self.spares)

    def save(self, point: RestorePoint, **options: Any) -> RestorePoint:
        self.states.save(point, {"moment": point.to_tree()}, **options)
        return point

    def held(self) -> list[tuple[int, bool]]:
        return [(kept.update, kept.good) for kept in self.states]

    def folders(self) -> list[str]:
        return sorted(path.name for path in self.store.directory.glob("*"))

    def events(self) -> list[tuple[str, int, int | None, int | None]]:
        return [
            (event.event.removeprefix("checkpoint_"), event.checkpoint_step, event.step, event.update)
            for event in self.heard
            if event.event != "warning"
        ]

    def warnings(self) -> list[str]:
        return [event.message for event in self.heard.named("warning")]


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


class TestSaving:
    def test_a_saved_one_is_on_record_under_its_last_update_and_loads(self, disk: Disk) -> None:
        point = disk.save(point_of(4, 6), wait=True)
        assert disk.events() == [("saved", 4, 4, 5)]
        assert disk.heard[0].path == "checkpoints/step-00000004"
        assert disk.held() == [(6, False)]
        loaded = disk.states.load(next(iter(disk.states)), AT)
        assert loaded is not None
        assert (loaded.step, loaded.update) == (4, 6)
        assert torch.equal(loaded.training.parameters["w"], point.training.parameters["w"])

    def test_the_first_state_has_no_last_update(self, disk: Disk) -> None:
        disk.save(point_of(0), good=True, wait=True)
        assert disk.events() == [("saved", 0, 0, None), ("promoted", 0, 0, None)]

    def test_it_is_held_while_it_is_written_and_so_is_its_memory(self, disk: Disk) -> None:
        disk.store.gate.clear()
        point = disk.save(point_of(4))
        assert (disk.states.holds(4), disk.states.holds(5)) == (True, False)
        # Memory lets the same state go meanwhile.
        disk.spares.hold(point)
        disk.spares.let_go(point)
        assert (disk.spares.take(), disk.events(), disk.folders()) == (None, [], [])
        disk.store.gate.set()
        disk.states.flush()
        assert disk.spares.take() is point.training
        assert disk.events() == [("saved", 4, 4, 3)]

    def test_a_second_waits_for_the_first(self, disk: Disk) -> None:
        disk.store.gate.clear()
        disk.save(point_of(4))
        threading.Timer(0, disk.store.gate.set).start()
        disk.save(point_of(8))
        assert disk.events() == [("saved", 4, 4, 3)]
        disk.states.flush()
        assert disk.events()[1:] == [("saved", 8, 8, 7)]

    def test_one_of_the_same_step_takes_the_place_of_the_first(self, disk: Disk) -> None:
        disk.save(point_of(4, 4), wait=True)
        disk.save(point_of(4, 9), wait=True)
        assert disk.held() == [(9, False)]
        assert disk.folders() == ["step-00000004"]

    def test_what_cannot_stand_in_a_checkpoint_is_raised_and_not_held(self, disk: Disk) -> None:
        point = point_of(4)
        with pytest.raises(TypeError, match=r"state\.hook"):
            disk.states.save(point, {"hook": print}, wait=True)
        assert (disk.held(), disk.states.holds(4)) == ([], False)
        assert disk.spares.take() is point.training
        disk.states.abandon_after(0, AT)


class TestFullDisk:
    def test_a_write_that_is_refused_is_a_warning_and_the_state_is_not_held(self, disk: Disk) -> None:
        disk.save(point_of(0), good=True, wait=True)
        point = point_of(4, 6, size=50_000)
        with files_no_larger_than(10_000):
            disk.save(point, wait=True)
        assert disk.held() == [(0, True)]
        assert not disk.states.holds(6)
        assert len(disk.warnings()) == 1
        assert "step 4 could not be written" in disk.warnings()[0]
        assert (disk.heard[-1].step, disk.heard[-1].update) == (4, 5)
        assert disk.folders() == ["step-00000000"]
        assert disk.spares.take() is point.training
        assert disk.states.load(Kept(0, 0, True), AT) is not None

    def test_one_that_was_to_be_written_over_stands(self, disk: Disk) -> None:
        disk.save(point_of(4), good=True, wait=True)
        with files_no_larger_than(10_000):
            disk.save(point_of(4, size=50_000), good=True, wait=True)
        assert disk.held() == [(4, True)]
        assert len(disk.warnings()) == 1
        assert disk.states.load(Kept(4, 4, True), AT) is not None
        assert disk.states.is_good(4)
        assert not disk.states.is_good(5)

    def test_a_state_that_never_came_to_the_disk_is_not_promoted(self, disk: Disk) -> None:
        disk.store.gate.clear()
        with files_no_larger_than(10_000):
            disk.save(point_of(4, size=50_000))
            disk.states.healthy_step((4, 4))
            threading.Timer(0, disk.store.gate.set).start()
            disk.states.healthy_step((5, 5))
        assert disk.held() == []
        assert [event.event for event in disk.heard] == ["warning"]

    def test_a_promotion_that_is_refused_is_a_warning_and_the_probation_counts_anew(self, disk: Disk) -> None:
        disk.save(point_of(4), wait=True)
        disk.states.healthy_step((4, 4))
        with files_no_larger_than(10):
            disk.states.healthy_step((5, 5))
            assert disk.held() == [(4, False)]
            # It is not asked again at once.
            disk.states.healthy_step((6, 6))
        assert [(event.step, event.update) for event in disk.heard.named("warning")] == [(5, 5)]
        assert not disk.heard.named("checkpoint_promoted")
        disk.states.healthy_step((7, 7))
        assert disk.held() == [(4, True)]
        assert disk.events()[-1] == ("promoted", 4, 7, 7)
        assert disk.store.committed()[0].good

    def test_a_folder_that_cannot_be_removed_is_a_warning(self, tmp_path: Path) -> None:
        disk = Disk(tmp_path, keep=1)
        disk.save(point_of(0), good=True, wait=True)
        # A file stands where the folder is moved to on its way out.
        (disk.store.directory / ".unfinished-retired-step-00000000").write_text("in the way", encoding="utf-8")
        disk.save(point_of(4), good=True, wait=True)
        disk.states.flush()
        assert disk.held() == [(4, True)]
        assert "checkpoints/step-00000000 could not be removed" in disk.warnings()[0]


class TestProbation:
    def test_promotion_comes_with_the_last_healthy_step_and_is_on_disk_then(self, disk: Disk) -> None:
        disk.save(point_of(4), wait=True)
        disk.states.healthy_step((4, 4))
        disk.states.flagged_step()
        disk.states.healthy_step((6, 6))
        assert (disk.held(), disk.store.committed()[0].good) == ([(4, False)], False)
        disk.states.healthy_step((7, 7))
        assert (disk.held(), disk.store.committed()[0].good) == ([(4, True)], True)
        assert disk.events() == [("saved", 4, 4, 3), ("promoted", 4, 7, 7)]

    def test_a_slow_disk_does_not_put_it_off(self, disk: Disk) -> None:
        disk.store.gate.clear()
        disk.save(point_of(4))
        disk.states.healthy_step((4, 4))
        threading.Timer(0, disk.store.gate.set).start()
        disk.states.healthy_step((5, 5))
        assert disk.events() == [("saved", 4, 4, 3), ("promoted", 4, 5, 5)]

    def test_without_probation_it_is_good_from_the_start(self, tmp_path: Path) -> None:
        disk = Disk(tmp_path, probation_steps=0)
        disk.save(point_of(4), wait=True)
        assert disk.held() == [(4, True)]
        assert disk.store.committed()[0].good

    def test_it_tells_how_many_healthy_steps_each_has_seen(self, disk: Disk) -> None:
        disk.save(point_of(0), good=True)
        disk.save(point_of(4))
        disk.states.healthy_step((4, 4))
        disk.save(point_of(5), wait=True)
        assert disk.states.healthy_steps() == {4: 1, 5: 0}


class TestRetention:
    def test_the_oldest_good_one_goes_and_the_newest_good_one_never(self, tmp_path: Path) -> None:
        disk = Disk(tmp_path, keep=1, probation_steps=1)
        disk.save(point_of(0), good=True, wait=True)
        for step in range(1, 5):
            disk.save(point_of(step), wait=True)
            # On probation it has driven nothing out.
            assert disk.held() == [(step - 1, True), (step, False)]
            assert disk.folders() == [f"step-{step - 1:08d}", f"step-{step:08d}"]
            disk.states.healthy_step((step, step))
            assert disk.held() == [(step, True)]
            assert disk.folders() == [f"step-{step:08d}"]

    def test_those_that_will_be_promoted_together_leave_room_for_the_newest(self, tmp_path: Path) -> None:
        disk = Disk(tmp_path, keep=1, probation_steps=9)
        disk.save(point_of(0), good=True)
        for step in (1, 2, 3):
            disk.save(point_of(step), wait=True)
            disk.states.flagged_step()
        disk.states.flush()
        assert disk.held() == [(0, True), (3, False)]
        assert disk.folders() == ["step-00000000", "step-00000003"]


class TestGoingBack:
    def test_the_newer_ones_and_those_on_probation_are_retired_and_said_so(self, disk: Disk) -> None:
        disk.save(point_of(0), good=True)
        disk.save(point_of(4), good=True)
        disk.save(point_of(6))
        disk.save(point_of(8), good=True)
        disk.states.abandon_after(6, AT)
        disk.states.flush()
        assert disk.held() == [(0, True), (4, True)]
        assert disk.folders() == ["step-00000000", "step-00000004"]
        rejected = disk.heard.named("checkpoint_rejected")
        assert [(event.checkpoint_step, event.step, event.update) for event in rejected] == [(6, 8, 9), (8, 8, 9)]
        assert {event.reason for event in rejected} == {"abandoned: the run went back to step 6"}

    def test_one_that_is_still_being_written_is_retired_too(self, disk: Disk) -> None:
        disk.store.gate.clear()
        disk.save(point_of(6))
        threading.Timer(0, disk.store.gate.set).start()
        disk.states.abandon_after(4, AT)
        disk.states.flush()
        assert (disk.held(), disk.folders()) == ([], [])

    def test_a_damaged_one_is_rejected_when_it_is_loaded_and_its_files_stay(self, disk: Disk) -> None:
        disk.save(point_of(4), good=True, wait=True)
        state = disk.store.directory / "step-00000004" / "state.pt"
        state.write_bytes(state.read_bytes()[:-9])
        assert disk.states.load(Kept(4, 4, True), AT) is None
        assert disk.held() == []
        assert disk.events()[-1] == ("rejected", 4, 8, 9)
        assert "torn" in disk.heard[-1].reason
        assert disk.folders() == ["step-00000004"]

    @pytest.mark.parametrize("tree", [{}, {"moment": {"step": 4}}, {"moment": None}])
    def test_one_that_holds_something_else_is_rejected_too(self, disk: Disk, tree: Any) -> None:
        disk.states.save(point_of(4), tree, good=True, wait=True)
        assert disk.states.load(Kept(4, 4, True), AT) is None
        assert disk.held() == []
        assert disk.events()[-1][0] == "rejected"

    def test_one_that_proved_bad_is_forgotten_and_its_files_stay(self, disk: Disk) -> None:
        disk.save(point_of(4), good=True, wait=True)
        disk.states.reject(Kept(4, 4, True), "bad", AT)
        assert (disk.held(), disk.states.holds(4)) == ([], False)
        assert (disk.events()[-1], disk.heard[-1].reason) == (("rejected", 4, 8, 9), "bad")
        assert disk.folders() == ["step-00000004"]


class TestAdopting:
    def found(self, disk: Disk) -> Any:
        for step, update, good in ((0, 0, True), (4, 4, False), (8, 8, True), (6, 11, False)):
            disk.store.write(step, update, {"moment": point_of(step, update).to_tree()}, good=good)
        return disk.store.committed()

    def test_a_resumed_run_takes_over_what_is_there(self, disk: Disk) -> None:
        disk.states.adopt(self.found(disk), 8, {4: 1, 8: 7})
        assert sorted(disk.held()) == [(0, True), (4, False), (8, True), (11, False)]
        assert disk.states.healthy_steps() == {4: 1, 11: 0}
        assert disk.heard == []
        disk.states.healthy_step((8, 12))
        assert disk.events() == [("promoted", 4, 8, 12)]
        loaded = disk.states.load(Kept(8, 8, True), AT)
        assert loaded is not None
        assert loaded.update == 8

    def test_those_beyond_the_step_it_goes_on_from_were_left_behind(self, disk: Disk) -> None:
        disk.states.adopt(self.found(disk), 6, {})
        disk.states.flush()
        assert sorted(disk.held()) == [(0, True), (4, False), (11, False)]
        assert disk.events() == [("rejected", 8, None, None)]
        assert disk.folders() == ["step-00000000", "step-00000004", "step-00000006"]

    def test_one_without_a_readable_manifest_is_none(self, disk: Disk) -> None:
        found = self.found(disk)
        manifest = found[0].path / "manifest.json"
        manifest.write_text(json.dumps({"schema": 2}), encoding="utf-8")
        disk.states.adopt(disk.store.committed(), 8, {})
        assert sorted(disk.held()) == [(0, True), (4, False), (8, True)]
