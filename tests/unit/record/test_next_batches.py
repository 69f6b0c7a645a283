"""What follows a checkpoint is noted in a file, and compared where a run goes on from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support.parts import log_to

from supervisor.record.next_batches import MOST_KEPT, NextBatches
from supervisor.testing.events import EventList
from supervisor.training.data_cursor import DataCursor
from supervisor.training.data_position import DataPosition

BATCHES = [torch.full((2,), float(number)) for number in range(6)]
OTHER = [batch + 100 for batch in BATCHES]


class Run:
    """A run's data and what is noted of them, in one process."""

    def __init__(self, path: Path | None, data: Any = BATCHES) -> None:
        self.heard = EventList()
        self.data = data if isinstance(data, DataPosition) else DataCursor(data)
        self.next_batches = NextBatches(path, self.data, log_to(self.heard))

    def draw(self, count: int) -> None:
        for _ in range(count):
            self.data.next()  # type: ignore[attr-defined]

    @property
    def said(self) -> list[str]:
        return [event.message for event in self.heard]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "next_batches.json"


def resumed(path: Path, at: int, data: Any = BATCHES) -> Run:
    """A run that goes on from its checkpoint after so many updates."""
    run = Run(path, data)
    if run.data.can_go_back:
        position = DataCursor(BATCHES)
        for _ in range(at):
            position.next()
        run.data.seek(position.position())
    run.next_batches.expect(at, at)
    return run


def began(path: Path, *checkpoints: int, steps: int = 5) -> None:
    run = Run(path)
    for step in range(steps):
        if step in checkpoints:
            run.next_batches.follows(step)
        run.draw(1)
    assert run.said == []


def test_data_that_come_again_say_nothing(path: Path) -> None:
    began(path, 0, 3)
    run = resumed(path, 3)
    run.draw(3)
    assert run.said == []


def test_others_are_said_once_at_the_first_batch(path: Path) -> None:
    began(path, 0, 3)
    run = resumed(path, 3, OTHER)
    assert run.said == []
    run.draw(3)
    (message,) = run.said
    assert message == (
        "data: the batch that follows is another one than before the resume, which is not exact from here on: "
        "list: give it state_dict and load_state_dict that tell where it stands"
    )
    # It stays when the run is resumed from the same checkpoint once more, and comes again then.
    assert (run.heard[0].step, run.heard[0].update) == (3, 2)
    again = resumed(path, 3, OTHER)
    again.draw(1)
    assert len(again.said) == 1


def test_a_batch_that_was_put_back_tells_nothing(path: Path) -> None:
    run = Run(path)
    run.draw(2)
    run.data.put_back([BATCHES[1]])
    run.next_batches.follows(2)
    run.draw(1)
    assert not path.exists()
    run.draw(1)
    assert list(json.loads(path.read_text())["after_update"]) == ["2"]


def test_data_that_are_sent_elsewhere_tell_nothing(path: Path) -> None:
    run = Run(path)
    start = run.data.position()
    run.draw(2)
    run.next_batches.follows(2)
    run.data.seek(start)
    run.draw(1)
    assert not path.exists()


def test_a_run_that_was_killed_before_its_next_batch_notes_it_when_it_goes_on(path: Path) -> None:
    run = Run(path)
    run.draw(3)
    run.next_batches.follows(3)
    assert not path.exists()
    again = resumed(path, 3)
    again.draw(1)
    assert list(json.loads(path.read_text())["after_update"]) == ["3"]
    other = resumed(path, 3, OTHER)
    other.draw(1)
    assert len(other.said) == 1


def test_an_iterator_that_cannot_go_back_is_said_at_once(path: Path) -> None:
    run = resumed(path, 3, iter(BATCHES))
    (message,) = run.said
    assert message.startswith(
        "data: what it gave before does not come again, and it goes on with whatever it gives now"
    )
    fresh = Run(path, iter(BATCHES))
    fresh.next_batches.expect(0, 0)
    assert fresh.said == []


def test_unless_it_gives_what_followed(path: Path) -> None:
    """A trainer may bring its own iterator back to where it stood."""
    began(path, 3)
    exact, other = resumed(path, 3, iter(BATCHES[3:])), resumed(path, 3, iter(BATCHES))
    exact.draw(1)
    other.draw(1)
    assert exact.said == []
    assert len(other.said) == 1


def test_the_last_checkpoints_are_kept(path: Path) -> None:
    run = Run(path)
    for update in range(MOST_KEPT + 6):
        run.next_batches.follows(update)
        run.draw(1)
    noted = list(json.loads(path.read_text())["after_update"])
    assert noted == [str(update) for update in range(6, MOST_KEPT + 6)]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"after_update": {"3": 5}}'])
def test_a_file_that_cannot_be_read_compares_nothing(path: Path, content: str) -> None:
    path.write_text(content)
    run = resumed(path, 3, OTHER)
    run.draw(2)
    assert run.said == []


class Unreadable:
    """Raises at whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


def test_what_cannot_be_hashed_or_written_ends_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path / "next_batches.json", [Unreadable()] * 3)
    run.next_batches.follows(0)
    run.draw(1)
    (tmp_path / "file").touch()
    nowhere = Run(tmp_path / "file" / "next_batches.json")
    nowhere.next_batches.follows(0)
    nowhere.draw(1)
    assert run.said == nowhere.said == []


def test_without_a_directory_nothing_is_asked_for() -> None:
    run = Run(None)
    run.next_batches.follows(0)
    run.draw(1)


class Place:
    """Where a caller's data stand."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        return


def test_batches_that_the_caller_draws_are_compared_where_he_gives_their_position(path: Path) -> None:
    run = Run(path, DataPosition(Place()))
    run.next_batches.follows(3)
    run.data.handed((BATCHES[3],))
    for number, said in ((3, 0), (4, 1)):
        again = Run(path, DataPosition(Place()))
        again.next_batches.expect(3, 3)
        again.data.handed((BATCHES[number],))
        assert len(again.said) == said
    without = Run(path, DataPosition())
    without.next_batches.expect(3, 3)
    without.data.handed((BATCHES[4],))
    assert without.said == []
