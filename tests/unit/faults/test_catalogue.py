"""Each fault of the catalogue really strikes, is found by the signal it names, and is on record before it does."""

from __future__ import annotations

import itertools
import math
import os
import resource
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.command import PATIENCE_SECONDS
from support.exact import assert_same
from support.training import EventList, Net, Training, build, healthy_batches
from torch import Tensor, nn

from supervisor import Guard, InputError
from supervisor.checkpoints import CheckpointStore
from supervisor.errors import CheckpointError
from supervisor.faults import FaultInjector, FaultRecord, FaultScript, read_fault_records
from supervisor.faults.model import AnyFault

BATCHES = healthy_batches(80)
AT = 50
# By counting alone: with experiments some of these faults are tried first, and found one update later.
POLICY = {
    "experiments": None,
    "detect": {"spike": {"window_updates": 64, "threshold": 12.0, "warmup_updates": 16}, "state_every_steps": 5},
    "cooldown_steps": 4,
    "snapshot": {"every_steps": 5},
    "checkpoint": {"every_steps": 20},
    "probation_steps": 2,
}


class Plain(Net):
    """Without the normalisation, which would make little of an outlier."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.Identity()


def script(*faults: dict[str, Any]) -> tuple[AnyFault, ...]:
    return FaultScript.model_validate({"faults": list(faults)}).faults


def prepared(
    training: Training, run_dir: Path | None, *faults: dict[str, Any], resume: bool = False
) -> tuple[Guard, FaultInjector, EventList]:
    """A guard with these faults, wired as the worker wires it."""
    heard = EventList()
    trainer: Any = SimpleNamespace(model=training.model, optimizer=training.optimizer, data=BATCHES, loss=training.loss)
    injector = FaultInjector(script(*faults), trainer, run_dir=run_dir)
    guard = Guard(
        model=training.model,
        optimizer=training.optimizer,
        loss=injector.loss,
        data=injector.data,
        policy=POLICY,
        run_dir=run_dir,
        resume=resume,
        listeners=[heard],
    )
    injector.batches_drawn = lambda: guard.batches_drawn
    injector.flush = guard.flush
    injector.position = lambda: (guard.steps_done, max(0, guard.updates_attempted - 1))
    return guard, injector, heard


def records(run_dir: Path) -> list[FaultRecord]:
    return read_fault_records(run_dir / "faults.jsonl")


IN_THE_STEP: list[tuple[dict[str, Any], int]] = [
    ({"kind": "nan_batch"}, 0),
    ({"kind": "inf_batch"}, 0),
    ({"kind": "outlier_batch", "samples": 8}, 0),
    ({"kind": "nan_gradient", "parameter": "inner.weight"}, 0),
    ({"kind": "inf_gradient", "parameter": "inner.weight"}, 0),
    ({"kind": "overflow_gradient"}, 0),
    ({"kind": "nan_weight", "parameter": "OUTER.*"}, 0),
    ({"kind": "bit_flip", "parameter": "outer.weight"}, 4),
    ({"kind": "nan_optimizer_state"}, 5),
    ({"kind": "lr_spike", "factor": 1e4}, 8),
    ({"kind": "forward_exception"}, 0),
    ({"kind": "forward_exception", "module": "dropout"}, 0),
    ({"kind": "out_of_memory"}, 0),
]


@pytest.mark.parametrize(("fault", "latest"), IN_THE_STEP, ids=lambda value: str(value))
def test_a_fault_in_the_step_strikes_and_is_found_in_time(fault: dict[str, Any], latest: int, tmp_path: Path) -> None:
    guard, _, heard = prepared(build(model=Plain), tmp_path, {**fault, "at_batch": AT})
    guard.run(70)
    (written,) = records(tmp_path)
    assert (written.fault, written.kind, written.batch, written.step, written.update) == (0, fault["kind"], AT, AT, AT)
    (read,) = script({**fault, "at_batch": AT})
    signals = heard.named("signal")
    assert signals[0].update - AT <= latest
    found = {str(signal.signal) for signal in signals if signal.update == signals[0].update}
    assert found & set(read.expected_signals)
    assert min(signal.update for signal in signals) >= AT
    assert guard.status == "finished"


def test_each_number_is_what_its_fault_says() -> None:
    """Read where the fault put it, not where it was found."""
    training = build()
    weight = dict(training.model.named_parameters())["outer.weight"]
    before = weight.detach().clone()
    flip = {"kind": "bit_flip", "parameter": "outer.weight", "element": 5}
    _, injector, _ = prepared(training, None, {**flip, "at_batch": 0}, {**flip, "bit": 31, "at_batch": 1})
    # The highest bit of the exponent, then the sign. In double precision: 2 to the power of 128 is no float32.
    for number, factor in ((1, 2.0**128), (2, -(2.0**128))):
        injector.batches_drawn = lambda number=number: number  # type: ignore[misc]
        injector.loss(BATCHES[0])
        assert (weight != before).nonzero().tolist() == [[0, 5]]
        assert weight[0, 5].double() == before[0, 5].double() * factor


@pytest.mark.parametrize(("kind", "value"), [("nan_gradient", math.nan), ("inf_gradient", math.inf)])
def test_one_element_of_one_gradient_is_hit(kind: str, value: float) -> None:
    training = build()
    _, injector, _ = prepared(training, None, {"kind": kind, "at_batch": 0, "parameter": "norm.*"})
    injector.batches_drawn = lambda: 1
    injector.loss(BATCHES[0]).backward()  # type: ignore[no-untyped-call]
    hit = {n: p.grad[~p.grad.isfinite()] for n, p in training.model.named_parameters() if p.grad is not None}
    assert {name: found.tolist() for name, found in hit.items() if found.numel()} == {
        "norm.weight": [pytest.approx(value, nan_ok=True)]
    }


def test_bad_samples_hold_what_their_fault_says() -> None:
    faults = [
        {"kind": "inf_batch", "at_batch": 2, "samples": 2},
        {"kind": "outlier_batch", "at_batch": 3, "samples": 3, "factor": 100.0},
    ]
    _, injector, _ = prepared(build(), None, *faults)
    injector.batches_drawn = iter(range(100)).__next__
    drawn = [batch for _, batch in zip(range(5), injector.data, strict=False)]
    for number, (x_BF, y_B) in enumerate(drawn):
        wanted_BF = BATCHES[number][0].clone()
        if number == 2:
            wanted_BF[:2] = math.inf
        if number == 3:
            wanted_BF[:3] *= 100.0
        assert_same(x_BF, wanted_BF)
        assert_same(y_B, BATCHES[number][1])


def test_a_spiked_rate_is_used_for_its_steps_and_put_back_as_it_was() -> None:
    training = build()
    guard, _, _ = prepared(training, None, {"kind": "lr_spike", "at_batch": 3, "factor": 7.0, "batches": 2})
    nominal = training.optimizer.param_groups[0]["lr"]
    weights = []
    for batch in guard.batches(8):
        guard.step(batch)
        weights.append([p.detach().clone() for p in training.model.parameters()])
        assert training.optimizer.param_groups[0]["lr"] == nominal
    moved = [
        max(float((a - b).abs().max()) for a, b in zip(later, earlier, strict=True))
        for earlier, later in itertools.pairwise(weights)
    ]
    # Adam moves the weight with the steadiest gradient by about its rate: seven times as far in two steps alone.
    assert [round(each / nominal) > 4 for each in moved] == [False, False, True, True, False, False, False]


@pytest.mark.parametrize("mode", ["truncate", "flip", "nan"])
def test_a_damaged_checkpoint_is_the_newest_and_is_passed_over(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing of it is on the disk yet when the fault's batch comes."""
    guard, injector, _ = prepared(build(), tmp_path, {"kind": "corrupt_checkpoint", "at_batch": 41, "mode": mode})
    write, wanted = CheckpointStore.write, threading.Event()

    def slow_write(store: CheckpointStore, step: int, *rest: Any, **good: bool) -> Path:
        if step == 40:
            wanted.wait(PATIENCE_SECONDS)
        return write(store, step, *rest, **good)

    def flush() -> None:
        wanted.set()
        guard.flush()

    monkeypatch.setattr(CheckpointStore, "write", slow_write)
    injector.flush = flush
    for batch in guard.batches(60):
        guard.step(batch)
        if guard.steps_done == 42:
            break
    guard.close()
    (written,) = records(tmp_path)
    assert written.target == "checkpoints/step-00000040"
    damaged = tmp_path / "checkpoints" / "step-00000040"
    store = CheckpointStore(tmp_path / "checkpoints", "")
    if mode == "nan":
        # As a writer that was handed a poisoned state: nothing but the numbers is wrong.
        first = next(iter(store.load(damaged)["moment"]["training"]["parameters"].values()))
        assert first.isnan().sum() == 1
    else:
        with pytest.raises(CheckpointError, match="torn" if mode == "truncate" else "not what was written"):
            store.verify(damaged)
    _, _, heard = prepared(build(), tmp_path, resume=True)
    assert [event.path for event in heard.named("checkpoint_rejected")] == [written.target]
    assert [event.checkpoint_step for event in heard.named("run_resumed")] == [20]


def test_a_full_disk_refuses_checkpoints_and_then_takes_them_again(tmp_path: Path) -> None:
    limits: list[int] = []
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    training = build()
    inner = training.loss

    def seen(batch: Any) -> Tensor:
        limits.append(resource.getrlimit(resource.RLIMIT_FSIZE)[0])
        return inner(batch)

    training.loss = seen
    guard, _, heard = prepared(training, tmp_path, {"kind": "disk_full", "at_batch": 35, "batches": 10})
    try:
        guard.run(70)
        half = (tmp_path / "checkpoints" / "step-00000020" / "state.pt").stat().st_size // 2
        assert limits == [before[0]] * 35 + [limits[35]] * 10 + [before[0]] * 25
        assert abs(limits[35] - half) < 0.1 * half
        assert resource.getrlimit(resource.RLIMIT_FSIZE) == before
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    refused = [event.message for event in heard.named("warning")]
    assert len(refused) == 1
    assert refused[0].startswith("checkpoint: step 40 could not be written")
    assert [event.checkpoint_step for event in heard.named("checkpoint_saved")] == [0, 20, 60, 70]


def test_a_slow_step_is_told_of_and_the_others_are_not(tmp_path: Path) -> None:
    guard, _, heard = prepared(build(), tmp_path, {"kind": "slow_step", "at_batch": AT, "seconds": 1.05})
    guard.run(60)
    (event,) = heard.named("warning")
    assert (event.step, event.update) == (AT, AT)
    assert event.message.startswith("slow step: ")
    assert not heard.named("signal")


def test_what_has_struck_does_not_strike_the_next_process(tmp_path: Path) -> None:
    """The run is broken off and resumed from before the faults; only the bad batch comes again."""
    faults = [
        {"kind": "nan_gradient", "at_batch": 43},
        {"kind": "forward_exception", "at_batch": 44},
        {"kind": "nan_batch", "at_batch": 45},
    ]
    guard, _, _ = prepared(build(), tmp_path, *faults)
    for batch in guard.batches(60):
        guard.step(batch)
        if guard.steps_done == 48:
            break
    guard.close()
    assert [record.kind for record in records(tmp_path)] == ["nan_gradient", "forward_exception", "nan_batch"]
    guard, _, heard = prepared(build(), tmp_path, *faults, resume=True)
    assert guard.steps_done == 40
    guard.run(60)
    assert {event.update for event in heard.named("signal")} == {45}
    assert [(record.kind, record.update) for record in records(tmp_path)[3:]] == [("nan_batch", 45)]


def test_a_replay_of_the_step_meets_the_bad_batch_again_and_no_glitch(tmp_path: Path) -> None:
    faults = [{"kind": "nan_gradient", "at_batch": 4}, {"kind": "nan_batch", "at_batch": 5}]
    training = build(model=Plain)
    guard, injector, heard = prepared(training, tmp_path, *faults)
    replayed = []
    for batch in guard.batches(8):
        if not guard.step(batch).applied:
            loss = injector.loss(batch)
            training.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            finite = all(bool(p.grad.isfinite().all()) for p in training.model.parameters() if p.grad is not None)
            replayed.append((math.isfinite(float(loss.detach())), finite))
            training.optimizer.zero_grad()
    assert replayed == [(True, True), (False, False)]
    assert len(records(tmp_path)) == 2
    assert len(heard.named("decision")) == 2


def test_a_fault_that_cannot_be_put_on_record_does_not_strike(tmp_path: Path) -> None:
    """Else it would strike again in the next process, and for ever."""
    guard, _, heard = prepared(build(), tmp_path, {"kind": "nan_gradient", "at_batch": 4})
    (tmp_path / "faults.jsonl").mkdir()
    guard.run(8)
    assert not heard.named("signal")


def test_a_torn_record_is_no_record(tmp_path: Path) -> None:
    guard, _, _ = prepared(build(), tmp_path, {"kind": "nan_gradient", "at_batch": 4})
    guard.run(8)
    guard.close()
    path = tmp_path / "faults.jsonl"
    whole = path.read_bytes()
    os.truncate(path, len(whole) - 5)
    assert records(tmp_path) == []
    path.write_bytes(whole[:-5] + b"\n" + whole)
    with pytest.raises(InputError, match=r"faults\.jsonl:1: not a record of a fault: .*: restore or delete it"):
        records(tmp_path)


@pytest.mark.parametrize(
    ("fault", "pattern"),
    [
        ({"kind": "forward_exception", "at_batch": 1, "module": "outter"}, r"matches no module: write one of: outer"),
        ({"kind": "bit_flip", "at_batch": 1, "bit": 32}, r"bit: 32: inner.weight has 32 bits: write less"),
        ({"kind": "disk_full", "at_batch": 1}, "disk_full: there is no run directory"),
        ({"kind": "corrupt_checkpoint", "at_batch": 1}, "corrupt_checkpoint: there is no run directory"),
    ],
    ids=str,
)
def test_a_fault_that_could_never_strike_is_refused(fault: dict[str, Any], pattern: str) -> None:
    with pytest.raises(InputError, match=pattern):
        prepared(build(), None, fault)


def test_an_exception_comes_out_of_the_module_it_was_put_into() -> None:
    training = build()
    _, injector, _ = prepared(training, None, {"kind": "forward_exception", "at_batch": 0, "module": "*norm*"})
    injector.batches_drawn = lambda: 1
    with pytest.raises(RuntimeError, match="injected into norm"):
        injector.loss(BATCHES[0])
    assert torch.isfinite(injector.loss(BATCHES[0]))
