"""Evaluations amid a training: when they come, that they leave no trace, and what they make of the checkpoints."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.exact import assert_same, everything, seed_all
from support.parts import subject_of
from support.training import OPTIMIZERS, SCHEDULERS, Training, build, guard_of, healthy_batches, nan_batch, quiet
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from supervisor import Guard
from supervisor.checkpoints import BestRule, CheckpointStore, best_of, read_metrics
from supervisor.events import read_events
from supervisor.states.evaluations import Untouched
from supervisor.testing.events import EventList
from supervisor.training.data_position import DataPosition

BATCHES = healthy_batches(12)
STEPS = 20


def trained(**options: Any) -> tuple[Training, Guard, EventList]:
    """A training that draws, averages and keeps statistics, finished."""
    training, heard = build(scheduler="cosine", draws=True, average=True), EventList()
    evaluate = options.pop("evaluate", None)
    if evaluate is not None:
        options["evaluate"] = lambda: evaluate(training)
    steps = options.pop("steps", STEPS)
    guard = guard_of(training, options.pop("data", BATCHES), listeners=[heard], quiet=True, **options)
    guard.run(steps)
    guard.close()
    return training, guard, heard


def harmless(training: Training) -> dict[str, float]:
    return {"drawn": float(torch.rand(()))}


def in_eval_mode(training: Training) -> dict[str, float]:
    training.model.eval()
    return {"loss": training.loss(BATCHES[0])}  # type: ignore[dict-item]


def draws_from_all(training: Training) -> dict[str, float]:
    return {"drawn": random.gauss(0, 1) + np.random.rand() + float(torch.rand(()))}


def seeds_anew(training: Training) -> dict[str, float]:
    seed_all(99)
    return {}


def forward_in_training_mode(training: Training) -> dict[str, float]:
    """Moves the running statistics and the registered average."""
    return {"loss": training.loss(BATCHES[1]).item()}


def trains_on(training: Training) -> dict[str, float]:
    for batch in BATCHES[:3]:
        training.optimizer.zero_grad()
        training.loss(batch).backward()  # type: ignore[no-untyped-call]
        training.optimizer.step()
        assert training.scheduler is not None
        training.scheduler.step()
    for group in training.optimizer.param_groups:
        group["lr"] = 7.0
    return {"loss": 1.0}


def leaves_gradients(training: Training) -> dict[str, float]:
    training.loss(BATCHES[1]).backward()  # type: ignore[no-untyped-call]
    return {}


def freezes(training: Training) -> dict[str, float]:
    torch.set_grad_enabled(False)
    for parameter in training.model.parameters():
        parameter.requires_grad_(False)
    return {}


def lends_the_average(training: Training) -> dict[str, float]:
    """And dies before it takes it back, so that the model's parameters are the average's own tensors."""
    for name, parameter in training.model.named_parameters():
        parameter.data = training.extra_state["average"].shadow[name]
    raise ValueError("no held-out data")


def changes_attributes(training: Training) -> dict[str, float]:
    training.model.get_submodule("drop").p = 0.9
    training.model.counted = 3  # type: ignore[assignment]
    return {}


def exits(training: Training) -> dict[str, float]:
    training.model.eval()
    raise SystemExit(1)


@pytest.mark.parametrize(
    "evaluate",
    [
        harmless,
        in_eval_mode,
        draws_from_all,
        seeds_anew,
        forward_in_training_mode,
        trains_on,
        leaves_gradients,
        freezes,
        lends_the_average,
        changes_attributes,
        exits,
    ],
)
def test_whatever_an_evaluation_does_the_training_is_bit_for_bit_the_same(
    evaluate: Callable[[Training], dict[str, float]],
) -> None:
    expected, _, _ = trained()
    calls: list[int] = []

    def counted(training: Training) -> dict[str, float]:
        calls.append(1)
        return evaluate(training)

    found, guard, _ = trained(evaluate=counted, evaluate_every_steps=3)
    assert (len(calls), guard.status) == (STEPS // 3 + 1, "finished")
    assert_same(everything(found), everything(expected))
    assert not hasattr(found.model, "counted")
    assert (found.model.training, found.model.get_submodule("drop").p) == (True, 0.3)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_under_any_schedule_and_optimizer(optimizer: str, scheduler: str) -> None:
    def run(**options: Any) -> Training:
        training = build(optimizer=optimizer, scheduler=scheduler, draws=True)
        if options:
            options["evaluate"] = lambda: training.loss(BATCHES[2]).backward()  # type: ignore[no-untyped-call]
        guard_of(training, BATCHES, quiet=True, **options).run(8)
        return training

    assert_same(everything(run(evaluate_every_steps=1)), everything(run()))


def test_amid_incidents_and_experiments_too() -> None:
    """A batch of NaN, and odd ones that are tried: what an experiment remembers is not an evaluation's to change."""

    def run(**options: Any) -> tuple[Training, EventList]:
        x_BF, y_B = BATCHES[3]
        batches = [*BATCHES, nan_batch(BATCHES[5]), *BATCHES, (200 * x_BF, y_B), (3 * x_BF, 2 - y_B), *BATCHES]
        policy = {"snapshot": {"every_steps": 5}, "detect": {"spike": {"window_updates": 16, "warmup_updates": 8}}}
        training, heard = build(draws=True, average=True), EventList()
        if options:
            options["evaluate"] = lambda: forward_in_training_mode(training)
        guard_of(training, batches, policy=policy, quiet=True, listeners=[heard], **options).run(80)
        return training, heard

    expected, story = run()
    found, heard = run(evaluate_every_steps=1)
    assert story.named("experiment")
    assert heard.actions() == story.actions() != []
    assert len(heard.named("experiment")) == len(story.named("experiment"))
    assert_same(everything(found), everything(expected))


def test_weights_that_were_lent_and_not_taken_back_are_not_written_to() -> None:
    """The average takes its state back in place, into tensors that the model's parameters are by then."""
    training = build()
    average = {name: parameter.detach() + 1.0 for name, parameter in training.model.named_parameters()}

    class InPlace:
        def state_dict(self) -> dict[str, Tensor]:
            return average

        def load_state_dict(self, state: dict[str, Tensor]) -> None:
            for name, tensor in state.items():
                average[name].copy_(tensor)

    training.extra_state["average"] = InPlace()
    before = everything(training)

    def evaluate() -> None:
        for name, parameter in training.model.named_parameters():
            parameter.data = average[name]
        raise ValueError("no held-out data")

    parts = guard_of(training, BATCHES, evaluate=evaluate, quiet=True).parts
    parts.evaluations.at_the_end()
    assert_same(everything(training), before)


def test_switches_of_torch_are_put_back() -> None:
    threads, before = torch.get_num_threads(), torch.get_default_dtype()

    def evaluate() -> None:
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.set_num_threads(threads + 1)

    try:
        guard_of(build(), BATCHES, evaluate=evaluate, quiet=True).parts.evaluations.at_the_end()
        now = (torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads())
        assert now == (before, True, threads)
    finally:
        torch.set_default_dtype(before)
        torch.set_grad_enabled(True)
        torch.set_num_threads(threads)


@pytest.mark.parametrize("error", [None, ValueError("no held-out data")])
def test_values_that_the_model_replaced_meanwhile_are_not_the_next_steps(error: Exception | None) -> None:
    training, replaced = build(), [0]

    def sanitized() -> Tensor:
        count, replaced[0] = replaced[0], 0
        return torch.tensor(count)

    untouched = Untouched(subject_of(training), DataPosition(), sanitized)
    with contextlib.suppress(ValueError), untouched.block():
        replaced[0] = 7
        if error is not None:
            raise error
    assert replaced == [0]


def rows() -> TensorDataset:
    x_NF = torch.cat([x_BF for x_BF, _ in BATCHES])
    return TensorDataset(x_NF, torch.cat([y_B for _, y_B in BATCHES]))


@pytest.mark.parametrize("kind", [DataLoader, StatefulDataLoader])
@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"num_workers": 1}, marks=pytest.mark.slow),
        pytest.param({"num_workers": 1, "persistent_workers": True}, marks=pytest.mark.slow),
    ],
    ids=["plain", "worker", "kept"],
)
@pytest.mark.parametrize("own_generator", [True, False])
def test_it_may_read_the_very_loader_of_the_training(
    kind: type[DataLoader[Any]], options: dict[str, Any], own_generator: bool, tmp_path: Path
) -> None:
    """Also where the run is then resumed from amid an epoch."""

    def run(folder: str, *, steps: int = STEPS, resume: bool = False, **more: Any) -> Training:
        training = build()
        generator = torch.Generator().manual_seed(5) if own_generator else None
        loader = kind(rows(), batch_size=8, shuffle=True, generator=generator, **options)
        policy = quiet(checkpoint={"every_steps": 7, "keep": 3})
        if more:
            more["evaluate"] = lambda: {"rows": sum(len(x_BF) for x_BF, _ in loader)}
        guard = guard_of(training, loader, run_dir=tmp_path / folder, resume=resume, policy=policy, quiet=True, **more)
        guard.run(steps)
        guard.close()
        return training

    expected = run("without")
    found = run("with", evaluate_every_steps=5)
    assert_same(everything(found), everything(expected))
    metrics = [event for event in read_events(tmp_path / "with") if event.event == "metrics"]
    assert [event.metrics["rows"] for event in metrics] == [96.0] * 4
    run("resumed", steps=11, evaluate_every_steps=5)
    assert_same(everything(run("resumed", resume=True, evaluate_every_steps=5)), everything(expected))


def places(heard: EventList) -> list[int]:
    return [event.step for event in heard.named("metrics")]


class TestDue:
    def test_it_comes_every_so_many_steps_and_at_the_end_once(self) -> None:
        assert places(trained(evaluate=harmless, evaluate_every_steps=8)[2]) == [8, 16, 20]
        assert places(trained(evaluate=harmless, evaluate_every_steps=10)[2]) == [10, 20]
        assert places(trained(evaluate=harmless)[2]) == [20]

    def test_a_discarded_step_counts_too(self) -> None:
        batches = [nan_batch(batch) if index == 7 else batch for index, batch in enumerate(BATCHES)]
        _, _, heard = trained(evaluate=harmless, evaluate_every_steps=8, data=batches, steps=10)
        assert places(heard) == [8, 10]

    def test_a_run_that_is_resumed_comes_to_the_same_ones(self, tmp_path: Path) -> None:
        policy = quiet(checkpoint={"every_steps": 6, "keep": 3})
        options: dict[str, Any] = {"evaluate": in_eval_mode, "evaluate_every_steps": 4, "policy": policy}
        trained(run_dir=tmp_path / "whole", **options)
        # What a kill at step 10 leaves: the checkpoint of step 6, and the lines of what came after it.
        trained(run_dir=tmp_path / "parts", steps=10, **options)
        CheckpointStore(tmp_path / "parts" / "checkpoints", "").retire(tmp_path / "parts/checkpoints/step-00000010")
        trained(run_dir=tmp_path / "parts", resume=True, **options)

        def evaluations(folder: str) -> list[tuple[int | None, dict[str, float]]]:
            events = [event for event in read_events(tmp_path / folder) if event.event == "metrics"]
            return [(event.step, event.metrics) for event in events]

        assert [step for step, _ in evaluations("whole")] == [4, 8, 12, 16, 20]
        assert evaluations("parts") == evaluations("whole")

    def test_one_that_a_stop_kept_from_being_done_is_done_when_the_run_goes_on(self, tmp_path: Path) -> None:
        """A scheduler that asks a job to stop gives it seconds, and an evaluation may take minutes."""

        def run(*, stopped: bool, resume: bool) -> list[int]:
            training, heard = build(), EventList()

            def loss(batch: Any) -> Tensor:
                if stopped and guard.updates_attempted == 4:
                    guard.request_stop()
                return training.loss(batch)

            options: dict[str, Any] = {"evaluate": lambda: {"x": 1.0}, "evaluate_every_steps": 4}
            guard = guard_of(
                training, BATCHES, loss=loss, run_dir=tmp_path, resume=resume, listeners=[heard], **options
            )
            guard.run(10)
            guard.close()
            return places(heard)

        assert run(stopped=True, resume=False) == []
        assert run(stopped=False, resume=True) == [4, 8, 10]


def checkpoints(run_dir: Path) -> dict[int, float | None]:
    """The steps that have a checkpoint, and the score that it was measured with."""
    store = CheckpointStore(run_dir / "checkpoints", "")
    return {info.step: (read_metrics(info.path) or {}).get("score") for info in reversed(store.committed())}


def scoring(*scores: float) -> Callable[[Training], dict[str, float]]:
    left = iter(scores)
    return lambda training: {"score": next(left)}


KEEP = {"evaluate_every_steps": 5, "keep_best": {"metric": "score", "mode": "max"}}
FEW = quiet(checkpoint={"every_steps": 8, "keep": 1}, probation_steps=1, snapshot={"every_steps": 8})


class TestTheBest:
    def test_it_is_kept_whatever_its_age_and_written_where_none_was_due(self, tmp_path: Path) -> None:
        _, _, heard = trained(run_dir=tmp_path / "run", evaluate=scoring(0.1, 0.9, 0.3, 0.2), policy=FEW, **KEEP)
        assert checkpoints(tmp_path / "run") == {10: 0.9, 16: None, 20: 0.2}
        told = [(event.checkpoint_step, event.metric, event.value) for event in heard.named("checkpoint_best")]
        assert told == [(5, "score", 0.1), (10, "score", 0.9)]

    def test_the_smallest_may_be_the_best_and_of_equals_the_first(self, tmp_path: Path) -> None:
        lowest = {**KEEP, "keep_best": {"metric": "score", "mode": "min"}}
        trained(run_dir=tmp_path / "run", evaluate=scoring(0.5, 0.2, 0.2, 0.3), policy=FEW, **lowest)
        found = best_of(CheckpointStore(tmp_path / "run" / "checkpoints", "").committed(), BestRule("score", "min"))
        assert found is not None
        assert (found[0].step, found[1]) == (10, 0.2)

    def test_a_resumed_run_knows_it(self, tmp_path: Path) -> None:
        run = {"run_dir": tmp_path / "run", "policy": FEW, **KEEP}
        trained(evaluate=scoring(0.9, 0.1), steps=10, **run)
        _, _, heard = trained(evaluate=scoring(0.8, 0.7, 0.6, 0.5), steps=30, resume=True, **run)
        assert heard.named("checkpoint_best") == []
        assert checkpoints(tmp_path / "run")[5] == 0.9

    def test_the_end_may_be_the_best_though_no_step_was_due(self, tmp_path: Path) -> None:
        trained(run_dir=tmp_path / "run", evaluate=scoring(0.1, 0.2), policy=FEW, steps=9, **KEEP)
        assert checkpoints(tmp_path / "run")[9] == 0.2
        found = best_of(CheckpointStore(tmp_path / "run" / "checkpoints", "").committed(), BestRule("score", "max"))
        assert found is not None
        assert found[0].step == 9

    def test_a_reload_that_abandons_it_goes_back_to_the_one_before(self, tmp_path: Path) -> None:
        """The best so far is on probation when the weights are spoilt; the best good one was kept for it."""
        training, scores = build(), iter([0.5, 0.9, 0.1, 0.1, 0.1])
        policy = quiet(checkpoint={"every_steps": 8, "keep": 1}, probation_steps=4, snapshot={"keep": 0})

        def loss(batch: Any) -> Tensor:
            if guard.updates_attempted == 13:
                with torch.no_grad():
                    training.model.get_parameter("outer.bias")[0] = float("nan")
            return training.loss(batch)

        heard = EventList()
        guard = guard_of(
            training,
            BATCHES,
            loss=loss,
            policy=policy,
            run_dir=tmp_path / "run",
            evaluate=lambda: {"score": next(scores)},
            listeners=[heard],
            quiet=True,
            **KEEP,
        )
        assert guard.run(15).status == "finished"
        guard.close()
        (reload,) = heard.named("action_applied")
        assert (reload.action, reload.restored_step) == ("reload_checkpoint", 8)
        rejected = [event.checkpoint_step for event in heard.named("checkpoint_rejected")]
        assert rejected == [10]
        found = best_of(CheckpointStore(tmp_path / "run" / "checkpoints", "").committed(), BestRule("score", "max"))
        assert found is not None
        assert (found[0].step, found[1]) == (5, 0.5)

    @pytest.mark.parametrize(
        ("metrics", "why"),
        [
            ({"loss": 1.0}, "evaluate gives no score (it gives loss)"),
            ({"score": float("nan")}, "score is nan"),
            ({"score": float("inf")}, "score is inf"),
        ],
    )
    def test_a_metric_that_cannot_be_compared_is_said_once(
        self, metrics: dict[str, float], why: str, tmp_path: Path
    ) -> None:
        _, _, heard = trained(run_dir=tmp_path / "run", evaluate=lambda training: metrics, **KEEP)
        said = [event.message for event in heard.named("warning")]
        assert said == [f"keep_best: {why}: a state without a finite value is never kept as the best one"]
        assert places(heard) == [5, 10, 15, 20]

    def test_a_state_that_is_not_finite_is_never_the_best(self, tmp_path: Path) -> None:
        """The check that an update passes does not look at every state, nor at every part of it."""
        policy = quiet(detect={"state_every_steps": 100}, snapshot={"keep": 0}, checkpoint={"every_steps": 100})

        def evaluate() -> dict[str, float]:
            return {"score": 1.0}

        def loss(batch: Any) -> Tensor:
            if guard.updates_attempted == 5:
                training.extra_state["average"].shadow["outer.bias"][0] = float("nan")
            return training.loss(batch)

        training = build(average=True)
        guard = guard_of(
            training, BATCHES, loss=loss, policy=policy, run_dir=tmp_path / "run", evaluate=evaluate, **KEEP
        )
        guard.begin(9)
        for batch in BATCHES[:5]:
            guard.step(batch)
        guard.close()
        assert checkpoints(tmp_path / "run") == {0: None}
