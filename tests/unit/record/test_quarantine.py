"""Samples that are left out, and the list of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.parts import log_to, through_a_file

from supervisor.events.quarantine_file import QuarantinedSample, read_quarantine
from supervisor.record.quarantine import Quarantine
from supervisor.records import Cause, CauseKind, Observation
from supervisor.testing.events import EventList
from supervisor.training.data_cursor import DataCursor
from supervisor.training.data_position import DataPosition


def cause(*indices: Any, update: int = 9) -> Cause:
    return Cause(CauseKind.BAD_INPUT, "not finite", 8, update, batch_number=7, dataset_indices=indices)


class Setting:
    def __init__(self, path: Path | None = None, *, enabled: bool = True, data: Any = None) -> None:
        self.heard = EventList()
        self.data: Any = DataCursor([1]) if data is None else data
        self.path = path
        self.quarantine = Quarantine(enabled, self.data, path, log_to(self.heard))

    def listed(self) -> list[Any]:
        assert self.path is not None
        return [sample.index for sample in read_quarantine(self.path)]


def test_blamed_samples_are_left_out_on_record_and_listed(tmp_path: Path) -> None:
    setting = Setting(tmp_path / "run" / "quarantine.jsonl")
    setting.quarantine.add(cause(5, "row-7"), 3)
    assert setting.data.quarantined == {5, "row-7"}
    (event,) = setting.heard
    assert (event.event, event.incident, event.dataset_indices) == ("quarantined", 3, (5, "row-7"))
    assert (event.step, event.update) == (8, 9)
    assert setting.path is not None
    lines = [json.loads(line) for line in setting.path.read_text(encoding="utf-8").splitlines()]
    assert lines[0] == {
        "index": 5,
        "incident": 3,
        "step": 8,
        "update": 9,
        "batch_number": 7,
        "reason": "not finite",
    }


def test_one_that_is_known_already_is_not_told_again(tmp_path: Path) -> None:
    setting = Setting(tmp_path / "quarantine.jsonl")
    setting.quarantine.add(cause(5), 1)
    setting.quarantine.add(cause(5), 2)
    assert len(setting.heard) == 1
    setting.quarantine.add(cause(5, 6), 2)
    assert setting.heard[-1].dataset_indices == (6,)
    assert setting.listed() == [5, 6]


@pytest.mark.parametrize("why", ["off", "the caller draws", "no indices"])
def test_nothing_is_added_where_it_cannot_or_shall_not_be(why: str, tmp_path: Path) -> None:
    outside = DataPosition(None) if why == "the caller draws" else None
    setting = Setting(tmp_path / "quarantine.jsonl", enabled=why != "off", data=outside)
    setting.quarantine.add(cause() if why == "no indices" else cause(5), 1)
    assert (setting.heard, setting.data.quarantined) == ([], frozenset())
    assert list(tmp_path.iterdir()) == []


def test_the_list_of_an_earlier_run_counts_from_the_start(tmp_path: Path) -> None:
    setting = Setting(tmp_path / "quarantine.jsonl", enabled=False)
    setting.quarantine.begin([QuarantinedSample(index=41, reason="a person said so")])
    assert (setting.data.quarantined, setting.listed(), setting.heard) == ({41}, [41], [])


def test_a_run_without_any_makes_no_file(tmp_path: Path) -> None:
    Setting(tmp_path / "run" / "quarantine.jsonl").quarantine.begin([])
    assert list(tmp_path.iterdir()) == []


def test_what_was_found_after_a_checkpoint_never_happened(tmp_path: Path) -> None:
    setting = Setting(tmp_path / "quarantine.jsonl")
    setting.quarantine.add(cause(5, "row-7"), 1)
    state = through_a_file(setting.quarantine.state_dict())
    setting.quarantine.add(cause(6), 2)
    assert setting.data.quarantined == {5, "row-7", 6}
    setting.quarantine.load_state_dict(state)
    assert (setting.data.quarantined, setting.listed()) == ({5, "row-7"}, [5, "row-7"])
    assert setting.quarantine.state_dict() == state
    setting.quarantine.load_state_dict([])
    assert (setting.data.quarantined, setting.listed()) == (frozenset(), [])


def test_a_disk_that_refuses_is_a_warning_and_the_samples_are_left_out_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the folder would be", encoding="utf-8")
    setting = Setting(tmp_path / "run" / "quarantine.jsonl")
    setting.quarantine.add(cause(5), 1)
    assert [event.event for event in setting.heard] == ["quarantined", "warning"]
    assert setting.heard[1].message.startswith("quarantine.jsonl could not be written: ")
    assert setting.data.quarantined == {5}


def test_without_a_run_directory_nothing_is_written(tmp_path: Path) -> None:
    setting = Setting()
    setting.quarantine.add(cause(5), 1)
    assert setting.data.quarantined == {5}
    assert [event.event for event in setting.heard] == ["quarantined"]


SEEN = Observation(step=12, update=14, loss=1.0, grad_norm=1.0)


def test_rows_that_were_presumed_to_be_at_fault_are_used_again_once_something_else_was(tmp_path: Path) -> None:
    setting = Setting(tmp_path / "quarantine.jsonl")
    setting.quarantine.add(cause(5), 1, presumed=True)
    setting.quarantine.add(cause(6), 1)
    setting.quarantine.add(cause(7), 2, presumed=True)
    setting.quarantine.release(1, SEEN)
    assert (setting.data.quarantined, setting.listed()) == ({6, 7}, [6, 7])
    (warning,) = setting.heard.named("warning")
    assert warning.message == "row 5 is used again: the state or the set-up was at fault"
    assert (warning.step, warning.update) == (12, 14)
    setting.quarantine.release(1, SEEN)
    assert len(setting.heard.named("warning")) == 1


def test_what_is_presumed_is_still_so_after_a_resume(tmp_path: Path) -> None:
    one, other = Setting(tmp_path / "one.jsonl"), Setting(tmp_path / "other.jsonl")
    one.quarantine.add(cause(5, 8), 1, presumed=True)
    one.quarantine.add(cause(6), 1)
    other.quarantine.load_state_dict(through_a_file(one.quarantine.state_dict()))
    assert other.quarantine.state_dict() == one.quarantine.state_dict()
    other.quarantine.release(1, SEEN)
    assert (other.data.quarantined, other.listed()) == ({6}, [6])
    assert "rows 5, 8 are used again" in other.heard.named("warning")[0].message
