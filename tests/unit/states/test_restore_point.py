"""A restore point as a checkpoint carries it."""

from __future__ import annotations

import pytest
from support.exact import assert_same
from support.parts import point_of, subject_of, through_a_file

from supervisor.states.restore_point import RestorePoint, last_update
from supervisor.testing.tiny import TinyTrainer


def test_it_comes_back_from_a_file_with_all_it_holds() -> None:
    trainer = TinyTrainer()
    trainer.loss(trainer.data[0]).backward()  # type: ignore[no-untyped-call]
    trainer.optimizer.step()
    point = RestorePoint(3, 5, 2, 1.25, subject_of(trainer).capture(), {"batch_number": 6, "pending": []})
    back = RestorePoint.from_tree(through_a_file(point.to_tree()))
    assert (back.step, back.update, back.applied_steps, back.useful_seconds) == (3, 5, 2, 1.25)
    assert_same(back.data, point.data)
    assert_same(back.training.to_tree(), point.training.to_tree())
    assert back.training.optimizer["state"]


@pytest.mark.parametrize("missing", ["step", "update", "applied_steps", "useful_seconds", "training", "data"])
def test_one_that_lacks_a_field_is_refused(missing: str) -> None:
    tree = point_of(3).to_tree()
    del tree[missing]
    with pytest.raises(KeyError, match=missing):
        RestorePoint.from_tree(tree)


def test_a_line_of_the_log_belongs_to_the_update_before() -> None:
    assert (last_update(0), last_update(1), last_update(9)) == (None, 0, 8)
