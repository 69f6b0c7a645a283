"""Faults reach a training through the paths that real ones take, at their batch and at no other."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.exact import assert_same, everything
from support.training import EventList, Training, build, healthy_batches, quiet
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from supervisor import Guard, InputError
from supervisor.config.origins import Origins
from supervisor.faults import FaultInjector, FaultScript, load_faults, read_fault_records
from supervisor.run_layout import RunLayout
from supervisor.testing.clock import FakeClock
from supervisor.testing.tiny import TinyTrainer

BATCHES = healthy_batches(12)
JOB = Origins("job.yaml")


def script(*faults: dict[str, Any]) -> tuple[Any, ...]:
    return FaultScript.model_validate({"faults": list(faults)}).faults


def run(training: Training, *faults: dict[str, Any], data: Any = BATCHES, steps: int = 12) -> tuple[Guard, EventList]:
    """A guarded run with these faults, wired as the worker wires it; no row is left out after its first strike."""
    heard = EventList()
    trainer: Any = SimpleNamespace(model=training.model, optimizer=training.optimizer, data=data, loss=training.loss)
    injector = FaultInjector(script(*faults), trainer)
    guard = Guard(
        model=training.model,
        optimizer=training.optimizer,
        loss=injector.loss,
        data=injector.data,
        policy=quiet(cooldown_steps=2, snapshot={"every_steps": 3}, probation_steps=1, diagnose={"quarantine": False}),
        listeners=[heard],
    )
    injector.batches_drawn = lambda: guard.batches_drawn
    guard.run(steps)
    return guard, heard


@pytest.mark.parametrize(
    ("fault", "signal", "updates"),
    [
        ({"kind": "nan_batch", "at_batch": 5}, "nonfinite_loss", {5}),
        ({"kind": "nan_batch", "at_batch": 5, "batches": 2}, "nonfinite_loss", {5, 6}),
        ({"kind": "nan_batch", "at_batch": 0}, "nonfinite_loss", {0}),
        ({"kind": "nan_weight", "at_batch": 5, "parameter": "OUTER.*"}, "nonfinite_parameter", {5}),
        ({"kind": "nan_optimizer_state", "at_batch": 5}, "nonfinite_optimizer_state", {5}),
        ({"kind": "nan_gradient", "at_batch": 5, "parameter": "inner.weight"}, "nonfinite_gradient", {5}),
        ({"kind": "overflow_gradient", "at_batch": 5}, "gradient_overflow", {5}),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_each_kind_strikes_at_its_batch_and_shows_as_what_it_is(
    fault: dict[str, Any], signal: str, updates: set[int]
) -> None:
    guard, heard = run(build(), fault)
    flagged = {event.update for event in heard.named("signal")}
    # Rotten moments are found with the next look at the state: here with the snapshot after the sixth step.
    assert flagged == updates
    assert str(heard.named("signal")[0].signal) == signal
    assert guard.status == "finished"


def test_without_a_fault_nothing_changes() -> None:
    plain, faulty = build(draws=True), build(draws=True)
    build(draws=True)
    run(faulty, {"kind": "nan_gradient", "at_batch": 99})
    after = everything(faulty)
    build(draws=True)
    Guard(model=plain.model, optimizer=plain.optimizer, loss=plain.loss, data=BATCHES, policy=quiet()).run(12)
    assert_same(after, everything(plain))


def test_a_fault_of_the_model_strikes_once_although_a_reload_goes_back_behind_it() -> None:
    training = build()
    heard = EventList()
    trainer: Any = SimpleNamespace(model=training.model, optimizer=training.optimizer, data=BATCHES, loss=training.loss)
    injector = FaultInjector(script({"kind": "nan_weight", "at_batch": 7}), trainer)
    guard = Guard(
        model=training.model,
        optimizer=training.optimizer,
        loss=injector.loss,
        data=injector.data,
        policy=quiet(
            ladder=[{"action": "reload_checkpoint", "data": "replay"}], snapshot={"every_steps": 3}, probation_steps=1
        ),
        listeners=[heard],
    )
    injector.batches_drawn = lambda: guard.batches_drawn
    assert guard.run(12).status == "finished"
    assert heard.actions() == ["reload_checkpoint"]
    assert guard.batches_drawn == 12


def test_the_batch_itself_is_left_alone() -> None:
    before = [(x_BF.clone(), y_B.clone()) for x_BF, y_B in BATCHES]
    run(build(), {"kind": "nan_batch", "at_batch": 3, "batches": 4})
    assert_same(BATCHES, before)


def test_a_spoilt_row_comes_up_in_every_epoch_wherever_it_is_shuffled_to() -> None:
    x_NF = torch.cat([batch[0] for batch in BATCHES])
    y_N = torch.cat([batch[1] for batch in BATCHES])
    order = torch.Generator().manual_seed(2)
    loader: Any = DataLoader(TensorDataset(x_NF, y_N), batch_size=8, shuffle=True, generator=order)
    guard, heard = run(build(), {"kind": "nan_sample", "rows": [17]}, data=loader, steps=36)
    flagged = sorted({event.update // 12 for event in heard.named("signal")})
    assert flagged == [0, 1, 2]
    assert guard.summary().skipped_steps == 3
    assert torch.isfinite(x_NF).all()


@pytest.mark.parametrize(
    ("fault", "pattern"),
    [
        ({"kind": "nan_weight", "at_batch": 1, "parameter": "outter.weight"}, r"matches no parameter.*outer\.weight"),
        ({"kind": "nan_sample", "rows": [1]}, "have no data set with rows: use nan_batch"),
    ],
    ids=["glob", "rows"],
)
def test_a_fault_that_cannot_strike_is_refused_at_the_start(fault: dict[str, Any], pattern: str) -> None:
    with pytest.raises(InputError, match=pattern):
        run(build(), fault)


@pytest.mark.parametrize(
    ("fault", "pattern"),
    [
        ({"kind": "nan_wait", "at_batch": 1}, r"faults\.0\.kind: \"nan_wait\" is not a kind: write `nan_weight`"),
        ({"at_batch": 1}, "has no kind: write `kind:`"),
        ({"kind": "nan_batch"}, r"faults\.0\.at_batch: .*: write"),
        ({"kind": "nan_batch", "at_batch": -1}, r"faults\.0\.at_batch: .*write `at_batch: 0` or more"),
        ({"kind": "nan_batch", "at_batch": True}, r"faults\.0\.at_batch: .*: write"),
        ({"kind": "nan_batch", "at_batch": 1, "row": 3}, r"faults\.0\.row: no such key"),
        ("nan_batch", r"write \{kind: nan_batch\}"),
    ],
    ids=str,
)
def test_a_malformed_script_is_told_with_its_key_and_mend(fault: Any, pattern: str) -> None:
    with pytest.raises(InputError, match=pattern):
        load_faults([fault], JOB)


def test_a_script_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text("version: 1\nfaults:\n  - {kind: nan_batch, at_batch: 3}\n", encoding="utf-8")
    assert load_faults(str(path), JOB) == script({"kind": "nan_batch", "at_batch": 3})
    path.write_text("version: 1\nfaults:\n  - {kind: nan_batch, at_batch: x}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"faults\.yaml:3: faults\.0\.at_batch: "):
        load_faults(str(path), JOB)
    assert load_faults(None, JOB) == ()


def test_an_overflow_has_finite_elements_and_an_infinite_norm() -> None:
    training, seen = build(), []
    trainer: Any = SimpleNamespace(model=training.model, optimizer=training.optimizer, data=BATCHES, loss=training.loss)
    injector = FaultInjector(script({"kind": "overflow_gradient", "at_batch": 0}), trainer)
    injector.batches_drawn = lambda: 1
    loss: Tensor = injector.loss(BATCHES[0])
    loss.backward()  # type: ignore[no-untyped-call]
    for parameter in training.model.parameters():
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()
        seen.append(parameter.grad.float().norm())
    assert math.isinf(float(torch.stack(seen).norm()))


def test_a_row_in_quarantine_strikes_no_more(tmp_path: Path) -> None:
    x_NF = torch.cat([batch[0] for batch in BATCHES])
    y_N = torch.cat([batch[1] for batch in BATCHES])
    order = torch.Generator().manual_seed(2)
    loader: Any = DataLoader(TensorDataset(x_NF, y_N), batch_size=8, shuffle=True, generator=order)
    training = build()
    trainer: Any = SimpleNamespace(model=training.model, optimizer=training.optimizer, data=loader, loss=training.loss)
    injector = FaultInjector(script({"kind": "nan_sample", "rows": [17]}), trainer, run_dir=tmp_path)
    guard = Guard(
        model=training.model, optimizer=training.optimizer, loss=injector.loss, data=injector.data, policy=quiet()
    )
    injector.batches_drawn = lambda: guard.batches_drawn
    injector.position = lambda: (guard.steps_done, guard.updates_attempted - 1)
    guard.run(36)
    assert guard.summary().skipped_steps == 1
    assert len(read_fault_records(RunLayout(tmp_path).faults)) == 1


def test_a_strike_is_on_record_with_its_place_and_time_before_it_is_made(tmp_path: Path) -> None:
    clock, trainer = FakeClock(), TinyTrainer()
    faults = script({"kind": "forward_exception", "at_batch": 3}, {"kind": "nan_weight", "at_batch": 4})
    injector = FaultInjector(faults, trainer, run_dir=tmp_path, clock=clock)
    injector.position = lambda: (2, 5)
    injector.life = lambda: 3
    injector.batches_drawn = lambda: 4
    with pytest.raises(RuntimeError, match="injected"):
        injector.loss(trainer.data[3])
    (written,) = read_fault_records(RunLayout(tmp_path).faults)
    assert (written.fault, written.kind, written.batch, written.step, written.update) == (0, faults[0].kind, 3, 2, 5)
    assert written.time == clock.now()
    assert (written.life, written.monotonic) == (3, clock.monotonic())
    # Asked for again, as a diagnosis does: what has struck strikes no second time.
    assert torch.isfinite(injector.loss(trainer.data[3]))
    injector.batches_drawn = lambda: 5
    assert torch.isnan(injector.loss(trainer.data[4]))
    assert [record.target for record in read_fault_records(RunLayout(tmp_path).faults)] == [None, "inner.weight"]
