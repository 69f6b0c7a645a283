"""Rows are left out for good only where it is known that they, and not the state, are at fault."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support.parts import NAN_LOSS, attempt_of
from support.training import EventList, Training, guard_of, healthy_batches, quiet
from torch import nn
from torch.utils.data import DataLoader

from supervisor.diagnosis import Diagnosis
from supervisor.evidence import Blame, Evidence
from supervisor.guard.blaming import bad_by_themselves, blamed_rows, by_evidence
from supervisor.records import Cause, CauseKind, Signal, SignalName
from supervisor.testing.tiny import TinyTrainer, with_nan
from supervisor.update import Attempt

SPIKE = (Signal(SignalName.LOSS_SPIKE),)
CAUSE = Cause(CauseKind.BAD_INPUT, "sample 5 stands out", 8, 9, samples=(5,), dataset_indices=(77,))


def attempt(*, bad: bool = False, blame: Blame | None = None, signals: Any = SPIKE) -> Attempt:
    data = TinyTrainer().data
    made = attempt_of(8, 9, with_nan(data[0], row=5) if bad else data[0], loss=math.nan)
    made.signals = signals
    if blame is not None:
        made.evidence = Evidence(blame, "the canaries say so", finite=signals is SPIKE)
    return made


class TestRows:
    @pytest.mark.parametrize("blame", [None, *Blame])
    def test_those_whose_values_are_not_finite_are_bad_in_any_state(self, blame: Blame | None) -> None:
        rows, presumed = blamed_rows(attempt(bad=True, blame=blame), CAUSE, good_state=False)
        assert (rows.dataset_indices, presumed) == ((77,), False)

    @pytest.mark.parametrize("blame", [*Blame])
    def test_others_are_where_an_experiment_blames_the_data(self, blame: Blame) -> None:
        rows, presumed = blamed_rows(attempt(blame=blame), CAUSE, good_state=True)
        assert (rows.dataset_indices, presumed) == (((77,), True) if blame is Blame.DATA else ((), False))

    @pytest.mark.parametrize("good_state", [True, False])
    def test_without_experiments_a_spike_counts_in_the_newest_good_state_alone(self, good_state: bool) -> None:
        rows, presumed = blamed_rows(attempt(), CAUSE, good_state=good_state)
        assert (rows.dataset_indices, presumed) == (((77,), True) if good_state else ((), False))

    def test_without_experiments_what_makes_the_loss_not_finite_counts(self) -> None:
        assert blamed_rows(attempt(signals=NAN_LOSS), CAUSE, good_state=False)[0].dataset_indices == (77,)

    def test_what_is_no_bad_input_has_none(self) -> None:
        cause = Cause(CauseKind.LOSS_FUNCTION, "", 8, 9)
        assert blamed_rows(attempt(), cause, good_state=True) == (cause, False)

    def test_positions_are_counted_through_the_batches(self) -> None:
        data = TinyTrainer().data
        first = data[0][0].shape[0]
        both = attempt_of(8, 9, data[1], loss=math.nan)
        both.batches = (data[1], with_nan(data[0], row=2))
        cause = Cause(CauseKind.BAD_INPUT, "", 8, 9, samples=(first + 2,), dataset_indices=(1,))
        assert bad_by_themselves(both, cause)


class TestWhatIsNamed:
    def test_a_state_that_an_experiment_blames_is_named_first_and_no_row_is_accused(self) -> None:
        found = by_evidence(Diagnosis(CAUSE, replays=3), attempt(blame=Blame.STATE))
        assert found is not None
        assert found.cause is not None
        assert found.cause.explanation.startswith("the state is at fault, the canaries say so; what stands out")
        assert (found.cause.kind, found.cause.samples, found.cause.dataset_indices) == (
            CauseKind.GRADIENT_EXPLOSION,
            (),
            (),
        )
        assert (found.cause.earlier_batch_healthy, found.replays) == (False, 3)

    @pytest.mark.parametrize("blame", [None, Blame.DATA, Blame.UNKNOWN])
    def test_nothing_else_changes_what_is_named(self, blame: Blame | None) -> None:
        diagnosis = Diagnosis(CAUSE)
        assert by_evidence(diagnosis, attempt(blame=blame)) is diagnosis
        assert by_evidence(None, attempt(blame=Blame.STATE)) is None

    def test_a_row_that_is_not_finite_stays_accused(self) -> None:
        diagnosis = Diagnosis(CAUSE)
        assert by_evidence(diagnosis, attempt(bad=True, blame=Blame.STATE)) is diagnosis


@pytest.mark.parametrize("experiments", [{}, None])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_clean_rows_are_used_again_after_a_rate_that_was_far_too_high(seed: int, experiments: Any) -> None:
    """Before, they were left out for the rest of the run, though a cure of the set-up had mended it."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=10.0, momentum=0.9)
    training = Training(model, optimizer, None, lambda batch: nn.functional.cross_entropy(model(batch[0]), batch[1]))
    rows = [(x, y) for batch in healthy_batches(200) for x, y in zip(*batch, strict=True)]
    data: Any = DataLoader(rows, batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(seed))
    heard = EventList()
    policy = quiet(experiments=experiments, detect={"spike": {}})
    guard_of(training, data, policy=policy, listeners=[heard]).run(200)
    blamed = [event for event in heard.named("decision") if "not any more" in event.reason]
    kinds = {event.update: event.kind for event in heard.named("diagnosis")}
    assert all(kinds.get(event.update) is not CauseKind.BAD_INPUT for event in blamed)
    if experiments is None:
        assert heard.named("quarantined") == []
