"""A plain loop on the primitives alone is bit for bit `guard.run`: healthy, skipped, reloaded and halted runs."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import EventList, Training, build, guard_of, healthy_batches, nan_batch, quiet
from torch import Tensor, nn
from torch.optim import SGD, Adam

from supervisor import Guard, InputError

STEPS = 24
BATCHES = healthy_batches(40)
QUICK = {"snapshot": {"every_steps": 3}, "checkpoint": {"every_steps": 8}, "probation_steps": 2, "cooldown_steps": 3}

Run = tuple[Training, EventList, Guard]


def spoilt(*numbers: int) -> list[Any]:
    return [nan_batch(batch) if number in numbers else batch for number, batch in enumerate(BATCHES)]


def raising(number: int) -> list[Any]:
    x_BF, y_B = BATCHES[number]
    return [(x_BF[:, 1:], y_B) if each == number else batch for each, batch in enumerate(BATCHES)]


def plain() -> Training:
    return build(scheduler="cosine", draws=True, average=True)


def scaled() -> Training:
    training = plain()
    training.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=5)
    return training


def calibrating() -> Training:
    training = plain()
    training.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=5)
    return training


def two_optimizers() -> Training:
    training = build(draws=True)
    model: Any = training.model
    head = [*model.outer.parameters()]
    body = [p for p in model.parameters() if all(p is not each for each in head)]
    training.optimizer = [Adam(body, lr=0.01), SGD(head, lr=0.05, momentum=0.9)]  # type: ignore[assignment]
    return training


def poisoned_by_the_update() -> Training:
    """A weight turns NaN inside the optimizer's step, once."""
    training, calls = plain(), [0]

    def poison(*_: Any) -> None:
        calls[0] += 1
        if calls[0] == 11:
            with torch.no_grad():
                training.model.inner.weight[0, 0] = math.nan  # type: ignore[union-attr,index,operator]

    training.optimizer.register_step_post_hook(poison)
    return training


def raising_in_the_optimizer() -> Training:
    training, calls = plain(), [0]

    def fail(*_: Any) -> None:
        calls[0] += 1
        if calls[0] == 11:
            raise RuntimeError("half an update")

    training.optimizer.register_step_post_hook(fail)
    return training


MANNERS: dict[str, tuple[Callable[[], Training], dict[str, Any]]] = {
    "plain": (plain, {}),
    "scaler": (scaled, {}),
    "scale to be found": (calibrating, {}),
    "two optimizers": (two_optimizers, {}),
    "accumulated": (plain, {"accumulate": 2}),
    "accumulated with a scaler": (scaled, {"accumulate": 2}),
    "clipped": (plain, {"policy": {"gradient_clip": {"max_norm": 0.1}}}),
    "poisoned by the update": (poisoned_by_the_update, {}),
    "raises in the optimizer": (raising_in_the_optimizer, {}),
}

RUNS: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "healthy": (BATCHES, {}),
    "skipped": (spoilt(5, 6, 17), {}),
    "an exception": (raising(7), {}),
    "reloaded": (spoilt(9, 20), {"ladder": [{"action": "reload_checkpoint"}]}),
    "replayed": (spoilt(9), {"ladder": [{"action": "reload_checkpoint", "data": "replay"}]}),
    "halted": (spoilt(12, 14, 16), {"ladder": [{"action": "lower_lr", "attempts": 2}]}),
}


def guarded(make: Callable[[], Training], data: list[Any], options: dict[str, Any], run_dir: Path) -> Run:
    training, heard = make(), EventList()
    policy = quiet(**{**QUICK, "detect": {"state_every_steps": 4}, **options.get("policy", {})})
    rest = {name: value for name, value in options.items() if name != "policy"}
    return training, heard, guard_of(training, data, policy=policy, listeners=[heard], run_dir=run_dir, **rest)


def by_hand(training: Training, guard: Guard, accumulate: int = 1) -> None:
    """The loop that somebody writes who keeps model, gradients and optimizer in his own hands."""
    optimizers = training.optimizer if isinstance(training.optimizer, list) else [training.optimizer]
    for batch in guard.batches(STEPS):
        guard.before_batch(batch)
        total, error = torch.zeros(()), None
        try:
            for part in batch if accumulate > 1 else (batch,):
                loss = training.loss(part)
                loss = loss / accumulate if accumulate > 1 else loss
                (loss if training.scaler is None else training.scaler.scale(loss)).backward()
                total = total + loss.detach()
        except Exception as raised:  # noqa: BLE001
            error = raised
        verdict = guard.after_backward(total, error)
        if verdict.apply:
            with guard.applying():
                for optimizer in optimizers:
                    if training.scaler is None:
                        optimizer.step()
                    else:
                        training.scaler.step(optimizer)
                if training.scaler is not None:
                    training.scaler.update()
            verdict = guard.after_step()
        if verdict.halt:
            assert verdict.reason
            return
        assert verdict.outcome is not None


def told(heard: EventList) -> list[dict[str, Any]]:
    """What is on record, but for times and names of the run."""
    spent = {"seconds", "step_seconds", "applied_seconds", "states_seconds"}
    exclude = {"time", "monotonic", "run_id", "summary", *spent}
    return [json.loads(event.model_dump_json(exclude=exclude)) for event in heard]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("manner", MANNERS)
def test_a_loop_of_ones_own_is_bit_identical(manner: str, run: str, tmp_path: Path) -> None:
    make, options = MANNERS[manner]
    data, policy = RUNS[run]
    options = {**options, "policy": {**options.get("policy", {}), **policy}}
    training, heard, guard = guarded(make, data, options, tmp_path / "run")
    summary = guard.run(STEPS)
    other, also_heard, hand = guarded(make, data, options, tmp_path / "hand")
    by_hand(other, hand, options.get("accumulate", 1))
    assert_same(everything(training), everything(other))
    exclude = {"seconds", "goodput", "account"}
    assert hand.summary().model_dump(exclude=exclude) == summary.model_dump(exclude=exclude)
    ours, theirs = told(heard), told(also_heard)
    # A thread writes checkpoints, so that these lines may stand a step later or earlier among the others.
    for lines in (ours, theirs):
        lines.sort(key=lambda line: line["event"].startswith("checkpoint"))
    for line in (*ours, *theirs):
        # Where the exception was raised is another line of another loop.
        for name in ("where", "log", "explanation"):
            line.pop(name, None)
    assert theirs == ours
    assert run != "halted" or summary.status == "halted"
    assert run in ("healthy", "halted") or heard.actions(), "the run shows what it is named for"


def test_batches_that_the_caller_draws_come_to_the_same(tmp_path: Path) -> None:
    """The guard knows neither loss nor data; a position that is handed over goes into checkpoints."""

    class Position:
        number = 0

        def state_dict(self) -> dict[str, int]:
            return {"number": self.number}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.number = state["number"]

    data = spoilt(5, 6, 17)
    training, _, guard = guarded(plain, data, {}, tmp_path / "run")
    summary = guard.run(STEPS)
    other, position, heard = plain(), Position(), EventList()
    outcomes = []
    for end in (10, STEPS):
        hand = Guard(
            model=other.model,
            optimizer=other.optimizer,
            scheduler=other.scheduler,
            extra_state=other.extra_state,
            position=position,
            policy=quiet(**QUICK),
            run_dir=tmp_path / "hand",
            resume=end == STEPS,
            listeners=[heard],
        )
        hand.begin(end)
        while hand.steps_done < end:
            batch = data[position.number]
            position.number += 1
            hand.before_batch(batch)
            loss = other.loss(batch)
            loss.backward()
            verdict = hand.after_backward(loss)
            if verdict.apply:
                with hand.applying():
                    other.optimizer.step()
                verdict = hand.after_step()
            outcomes.append(verdict.outcome)
        hand.finish()
        hand.close()
        # The resume puts everything back, the position too.
        other = plain() if end < STEPS else other
        position.number = 0 if end < STEPS else position.number
    assert_same(everything(training), everything(other))
    assert hand.summary().applied_steps == summary.applied_steps
    assert [outcome.step for outcome in outcomes if outcome is not None and not outcome.applied] == [5, 6, 17]
    # Nothing may be run again, so that the cause is not known, and that is said.
    assert heard.named("diagnosis") == []
    assert "may call again" in heard.named("warning")[0].message


def test_the_sound_ones_of_accumulated_batches_that_the_caller_draws_are_given_back() -> None:
    training = plain()
    guard = Guard(
        model=training.model,
        optimizer=training.optimizer,
        scheduler=training.scheduler,
        extra_state=training.extra_state,
        replay=training.loss,
        accumulate=2,
        policy=quiet(),
    )
    ahead = spoilt(5)[:14]
    while len(ahead) >= 2:
        two, ahead = tuple(ahead[:2]), ahead[2:]
        guard.before_batch(two)
        total = torch.zeros(())
        for batch in two:
            loss = training.loss(batch) / 2
            loss.backward()  # type: ignore[no-untyped-call]
            total = total + loss.detach()
        verdict = guard.after_backward(total)
        if verdict.apply:
            with guard.applying():
                training.optimizer.step()
            assert guard.after_step().again == ()
        ahead = [*verdict.again, *ahead]
    never_seen = [batch for number, batch in enumerate(BATCHES[:14]) if number != 5]
    without = everything(training)
    twin = plain()
    guard_of(twin, never_seen, accumulate=2, policy=quiet()).run(6)
    assert_same(without, everything(twin))
    assert guard.summary().skipped_steps == 1


def test_a_step_that_may_not_be_run_again_has_no_cause_unless_it_needs_none() -> None:
    training, heard = plain(), EventList()
    calls = [0]

    def loss(batch: Any) -> Tensor:
        calls[0] += 1
        return training.loss(batch)

    guard = guard_of(training, raising(7), loss=loss, replay=False, policy=quiet(), listeners=[heard])
    guard.run(10)
    assert calls == [10]
    # An exception tells by itself where it comes from.
    assert [event.kind for event in heard.named("diagnosis")] == ["exception"]


def test_a_guard_without_a_loss_cannot_make_the_step_itself() -> None:
    training = plain()
    guard = Guard(model=training.model, optimizer=training.optimizer, data=BATCHES)
    with pytest.raises(InputError, match="needs `loss`"):
        guard.run(3)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"replay": 5}, "replay: an int: give a function of a batch"),
        ({"replay": True}, "there is no `loss` to call again"),
        ({"position": 5}, "position: an int: give an object with state_dict and load_state_dict"),
        ({"position": nn.Linear(1, 1), "data": BATCHES}, "give one of the two"),
        ({"scheduler": "any", "scheduler_interval": "epoch"}, "knows the epochs of batches that it draws alone"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], told: str) -> None:
    training = plain()
    with pytest.raises(InputError, match=told):
        Guard(model=training.model, optimizer=training.optimizer, **options)
