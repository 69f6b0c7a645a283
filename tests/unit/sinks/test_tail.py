"""The log read on from a place, whatever becomes of its files meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.written_run import WrittenRun

from supervisor.errors import InputError
from supervisor.sinks.place import FilePlace
from supervisor.sinks.tail import Tail, Told


def names(told: list[Told]) -> list[str]:
    return [each.event.event for each in told]


def test_each_reading_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    tail = Tail(run.layout, {})
    assert names([*tail.read()]) == ["worker_started", "run_started"]
    assert [*tail.read()] == []
    run.steps(0, 1)
    assert tail.left() == 2
    assert [told.event.step for told in tail.read()] == [0, 1]
    assert tail.left() == 0


def test_a_directory_without_a_log_yet_has_nothing_to_say(tmp_path: Path) -> None:
    assert [*Tail(WrittenRun(tmp_path).layout, {}).read()] == []


def test_another_process_goes_on_from_the_places_of_the_last_one(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    run.steps(0, 1)
    before = Tail(run.layout, {})
    given = before.read()
    assert [next(given).event.event for _ in range(3)] == ["worker_started", "run_started", "step"]
    after = Tail(run.layout, before.places)
    assert [told.event.step for told in after.read()] == [1]


def test_what_was_told_before_is_given_again_where_that_is_asked_for_and_moves_no_place(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    run.steps(0, 1)
    before = Tail(run.layout, {})
    assert len([*before.read()]) == 4
    run.steps(2)
    after = Tail(run.layout, before.places, again=True)
    given = after.read()
    assert [next(given).again for _ in range(4)] == [True] * 4
    assert after.places == before.places
    (last,) = given
    assert (last.event.step, last.again) == (2, False)


def test_what_a_resume_took_back_is_marked(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    run.steps(0, 1, 2)
    run.resume(1)
    run.steps(1)
    told = [each for each in Tail(run.layout, {}).read() if each.event.event == "step"]
    assert [(each.event.step, each.void) for each in told] == [(0, False), (1, True), (2, True), (1, False)]


def test_a_file_that_was_begun_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    run.steps(*range(9))
    tail = Tail(run.layout, {})
    assert len([*tail.read()]) == 11
    # As the parent does with the log of a worker that died before its first checkpoint.
    run.log.close()
    run.layout.rank_events.unlink()
    run.start()
    run.steps(0)
    assert names([*tail.read()]) == ["worker_started", "run_started", "step"]


def test_a_file_that_was_begun_anew_with_the_same_line_is_read_from_its_beginning(tmp_path: Path) -> None:
    """As the writer does whose file somebody has removed."""
    run = WrittenRun(tmp_path)
    run.start()
    run.steps(0, 1)
    tail = Tail(run.layout, {})
    assert len([*tail.read()]) == 4
    run.layout.rank_events.unlink()
    run.steps(2)
    assert names([*tail.read()]) == ["run_started", "step", "warning"]


def test_a_place_in_another_file_of_the_same_name_is_none(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    tail = Tail(run.layout, {"rank0.jsonl": FilePlace("other", 5, 1)})
    assert names([*tail.read()]) == ["worker_started", "run_started"]


def test_a_torn_last_line_waits_until_it_is_whole(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    run.steps(0)
    tail = Tail(run.layout, {})
    whole = run.layout.rank_events.read_bytes()
    run.layout.rank_events.write_bytes(whole[:-20])
    assert names([*tail.read()]) == ["worker_started", "run_started"]
    run.layout.rank_events.write_bytes(whole)
    assert names([*tail.read()]) == ["step"]


def test_a_damaged_line_before_the_last_is_an_error(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path)
    run.start()
    text = run.layout.rank_events.read_text()
    run.layout.rank_events.write_text(f"{text}no event\n{text}")
    with pytest.raises(InputError, match=r"rank0.jsonl:2: not an event"):
        [*Tail(run.layout, {}).read()]


def test_a_directory_that_is_removed_meanwhile_has_nothing_more_to_say(tmp_path: Path) -> None:
    run = WrittenRun(tmp_path / "run")
    run.start()
    tail = Tail(run.layout, {})
    assert len([*tail.read()]) == 2
    shutil.rmtree(run.layout.root)
    assert [*tail.read()] == []
    assert tail.left() == 0
