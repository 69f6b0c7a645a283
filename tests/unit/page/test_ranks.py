from __future__ import annotations

from support.page_runs import step_event

from supervisor.page.ranks import Ranks


def test_each_rank_has_its_last_step_and_void_lines_do_not_count() -> None:
    ranks = Ranks()
    for rank in (1, 0):
        ranks.tell(step_event(3, 3, 0.5).model_copy(update={"rank": rank}), void=False)
    ranks.tell(step_event(9, 9, 0.7).model_copy(update={"rank": 0}), void=True)
    assert [(row.name, row.step, row.loss) for row in ranks.rows()] == [("rank 0", 3, 0.5), ("rank 1", 3, 0.5)]
