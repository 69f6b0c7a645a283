from __future__ import annotations

from supervisor.events import schema
from supervisor.page.checkpoints import Checkpoints

PATH = "checkpoints/step-00000010"


def test_what_became_of_each() -> None:
    checkpoints = Checkpoints()
    for event in (
        schema.CheckpointSavedEvent(step=10, checkpoint_step=10, path=PATH),
        schema.CheckpointPromotedEvent(step=30, checkpoint_step=10, path=PATH),
        schema.BestCheckpointEvent(step=30, checkpoint_step=10, path=PATH, metric="mrr", value=0.5),
        schema.CheckpointRejectedEvent(checkpoint_step=10, path=PATH, reason="torn"),
        schema.CheckpointSavedEvent(step=10, checkpoint_step=10, path=PATH),
        schema.CheckpointRejectedEvent(checkpoint_step=5, path="other", reason="no manifest"),
    ):
        checkpoints.tell(event)
    first, again, other = checkpoints.rows()
    assert (first.state, first.good_at_step, first.why_gone, first.best) == ("rejected", 30, "torn", "mrr 0.5")
    assert (again.state, again.good_at_step) == ("on probation", None)
    assert (other.step, other.saved, other.why_gone) == (5, None, "no manifest")
