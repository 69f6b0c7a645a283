"""Cures: which apply, what they change, and that they stay whatever state is put back."""

from __future__ import annotations

from typing import Any

import torch
from support.parts import BATCHES, Parts, through_a_file
from torch import nn

from supervisor.experiments.cures import CuresInForce, why_not_applied
from supervisor.experiments.fork import Setting
from supervisor.policy import Cure
from supervisor.update import UpdateSettings


def sgd(model: nn.Module, **options: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, **options)


def of(make: Any = None, **given: Any) -> Parts:
    parts = Parts.of()
    return Parts.of(parts.model, optimizer=None if make is None else make(parts.model), **given)


class TestWhichApply:
    def applies(self, cure: Cure, parts: Parts, flagged: tuple[str, ...] = ()) -> bool:
        return why_not_applied(cure, parts.subject, parts.executor, flagged) is None

    def test_a_rate_always_does_and_so_does_a_clip_of_another_norm(self) -> None:
        assert self.applies(Cure(lr=0.1), of())
        assert self.applies(Cure(clip=1.0), of())
        assert not self.applies(Cure(clip=1.0), of(settings=UpdateSettings(max_norm=1.0)))

    def test_momentum_and_eps_where_a_group_has_another(self) -> None:
        assert self.applies(Cure(momentum=0.9), of(lambda model: sgd(model, momentum=0.5)))
        assert not self.applies(Cure(momentum=0.9), of(lambda model: sgd(model, momentum=0.9)))
        assert not self.applies(Cure(momentum=0.9), of())
        assert self.applies(Cure(eps=1e-6), of())
        assert not self.applies(Cure(eps=1e-8), of())
        assert not self.applies(Cure(eps=1e-8), of(sgd))

    def test_redrawing_where_something_is_flagged(self) -> None:
        assert self.applies(Cure(reinitialize_flagged=True), of(), ("inner",))
        assert not self.applies(Cure(reinitialize_flagged=True), of())

    def test_sparse_gradients_cannot_be_clipped(self) -> None:
        model = nn.Embedding(3, 2, sparse=True)
        assert not self.applies(Cure(clip=1.0), Parts.of(model, lambda batch: model.weight.sum(), optimizer=sgd(model)))


class TestInForce:
    def test_a_fork_has_it_beside_those_in_force(self) -> None:
        parts = of(lambda model: sgd(model, momentum=0.5))
        cures = CuresInForce(parts.subject, parts.executor)
        assert cures.on_a_fork(None) == Setting()
        cures.put_in_force(Cure(lr=0.5))
        assert cures.on_a_fork(Cure(lr=0.1, clip=2.0, momentum=0.9)) == Setting(0.05, 2.0)
        assert parts.subject.optimizer.param_groups[0]["momentum"] == 0.9
        assert (parts.executor.lr_factor, parts.executor.max_norm) == (0.5, None)

    def test_it_changes_the_run_for_good(self) -> None:
        parts = of(lambda model: sgd(model, momentum=0.5))
        cures = CuresInForce(parts.subject, parts.executor)
        for cure in (Cure(lr=0.1, clip=1.0), Cure(lr=0.5), Cure(momentum=0.0)):
            cures.put_in_force(cure)
        assert cures.labels == ("clip 1.0 + lr 0.1", "lr 0.5", "momentum 0.0")
        assert (parts.executor.lr_factor, parts.executor.max_norm) == (0.05, 1.0)
        assert parts.subject.optimizer.param_groups[0]["momentum"] == 0.0

    def test_going_back_to_an_older_state_keeps_it(self) -> None:
        parts = of()
        before = parts.subject.capture()
        CuresInForce(parts.subject, parts.executor).put_in_force(Cure(eps=1e-4))
        parts.applied(BATCHES[0])
        parts.subject.restore(before)
        assert parts.subject.optimizer.param_groups[0]["eps"] == 1e-4

    def test_a_checkpoint_carries_it(self) -> None:
        parts, other = of(), of()
        cures, loaded = (CuresInForce(each.subject, each.executor) for each in (parts, other))
        cures.flagged, cures.large_weights = ("inner",), True
        cures.put_in_force(Cure(lr=0.1, clip=1.0, eps=1e-4))
        loaded.load_state_dict(through_a_file(cures.state_dict()))
        assert loaded.state_dict() == cures.state_dict()
        assert (other.executor.lr_factor, other.executor.max_norm) == (0.1, 1.0)
        assert other.subject.optimizer.param_groups[0]["eps"] == 1e-4
