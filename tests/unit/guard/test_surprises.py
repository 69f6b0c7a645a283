"""What people do with a guard that nobody planned for."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.exact import assert_finite, assert_same, everything, seed_all
from support.training import EventList, Training, build, guard_of, healthy_batches, nan_batch, quiet
from torch import Tensor, nn

from supervisor import Guard, InputError, PolicyHalt
from supervisor.events.schema import RunStatus
from supervisor.update import LossError

BATCHES = healthy_batches(40)
RELOAD = quiet(ladder=[{"action": "reload_checkpoint"}], snapshot={"every_steps": 3}, probation_steps=2)


def test_a_run_needs_data_and_a_step_does_not() -> None:
    guard = guard_of(build())
    with pytest.raises(InputError, match="data: Guard needs `data`"):
        guard.run(3)
    assert guard.step(BATCHES[0]).applied


def test_data_without_a_batch_are_refused() -> None:
    with pytest.raises(InputError, match="data: no batches"):
        guard_of(build(), []).run(3)


@pytest.mark.parametrize("steps", [0, -1, 2.5, "3", None])
def test_steps_must_be_a_positive_whole_number(steps: Any) -> None:
    with pytest.raises(InputError, match="write a whole number, 1 or more"):
        guard_of(build(), BATCHES).run(steps)


def test_a_generator_serves_once_and_says_so_when_it_ends() -> None:
    guard = guard_of(build(), iter(BATCHES[:5]))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="ended after 5 batches"):
        guard.run(10)
    assert guard.steps_done == 5
    assert guard_of(build(), iter(BATCHES)).run(10).status == "finished"  # type: ignore[arg-type]


def test_replay_is_passed_over_where_the_data_cannot_go_back() -> None:
    heard = EventList()
    ladder = [{"action": "reload_checkpoint", "data": "replay"}]
    data = iter([*BATCHES[:5], nan_batch(BATCHES[5]), *BATCHES[6:]])
    summary = guard_of(build(), data, policy=quiet(ladder=ladder), listeners=[heard]).run(10)  # type: ignore[arg-type]
    assert summary.status == "halted"
    assert "the data cannot go back" in heard.named("decision")[0].reason


def test_a_later_end_goes_on_where_the_run_stood(tmp_path: Path) -> None:
    one, other, heard = build(draws=True), build(draws=True), EventList()
    guard = guard_of(one, BATCHES, run_dir=tmp_path / "run", listeners=[heard])
    seed_all(0)
    build(draws=True)
    assert guard.run(5).steps == 5
    assert guard.run(5).steps == 5
    assert guard.run(9).steps == 9
    expected = guard_of(other, BATCHES)
    seed_all(0)
    build(draws=True)
    expected.run(9)
    assert_same(everything(one), everything(other))
    assert [event.summary.steps for event in heard.named("run_finished")] == [5, 9]
    assert (tmp_path / "run" / "checkpoints" / "step-00000009").is_dir()


def test_a_halted_guard_stays_halted() -> None:
    guard = guard_of(build(), [nan_batch(BATCHES[0])], policy=quiet(ladder=[]))
    assert guard.run(5).status == "halted"
    assert guard.run(10).status == "halted"
    with pytest.raises(PolicyHalt):
        guard.step(BATCHES[0])


@pytest.mark.parametrize("batch", [BATCHES[0][0], BATCHES[:3], BATCHES[:1]], ids=["tensor", "three", "one"])
def test_a_step_takes_as_many_batches_as_it_accumulates(batch: Any) -> None:
    guard = guard_of(build(), accumulate=2)
    with pytest.raises(InputError, match="accumulate=2"):
        guard.step(batch)
    assert guard.step(list(BATCHES[:2])).applied
    assert guard.summary().incidents == 0


def test_an_optimizer_without_state_and_no_scheduler() -> None:
    training, heard = build(), EventList()
    training.optimizer = torch.optim.SGD(training.model.parameters(), lr=0.1)
    guard = guard_of(training, policy=RELOAD, listeners=[heard])
    for batch in BATCHES[:8]:
        guard.step(batch)
    assert guard.step(nan_batch(BATCHES[8])).action == "reload_checkpoint"
    assert heard.named("action_applied")[0].restored_step == 6


def test_a_model_whose_loss_has_no_graph_is_told_at_once() -> None:
    training, heard = build(), EventList()
    for parameter in training.model.parameters():
        parameter.requires_grad_(False)
    before = everything(training)
    with pytest.raises(LossError, match="does not require grad"):
        guard_of(training, BATCHES, listeners=[heard]).run(30)
    assert heard.named("signal") == []
    assert_same(everything(training), before)


def test_batches_may_be_dicts() -> None:
    training = build()
    data = [{"x": x_BF, "y": {"label": y_B}} for x_BF, y_B in BATCHES]
    guard = guard_of(training, data, loss=lambda batch: training.loss((batch["x"], batch["y"]["label"])))
    assert guard.run(10).applied_steps == 10


def test_weights_that_are_tied_stay_tied() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
            self.two.weight = self.one.weight

        def forward(self, x_BF: Tensor) -> Tensor:
            logits: Tensor = self.out(self.two(torch.tanh(self.one(x_BF))))
            return logits

    training = build(model=Tied)
    guard = guard_of(training, policy=RELOAD)
    states = []
    for batch in BATCHES[:8]:
        guard.step(batch)
        states.append(everything(training))
    guard.step(nan_batch(BATCHES[8]))
    assert_same(everything(training), states[5])
    assert training.model.one.weight is training.model.two.weight  # type: ignore[union-attr]


@pytest.mark.parametrize("action", ["skip_batch", "reload_checkpoint"])
def test_sparse_gradients_of_an_embedding(action: str) -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.out = nn.Embedding(10, 4, sparse=True), nn.Linear(4, 3)

        def forward(self, words_BL: Tensor) -> Tensor:
            logits: Tensor = self.out(self.embedding(words_BL).mean(1))
            return logits

    seed_all(0)
    model = Words()
    words_BL, y_B = torch.randint(10, (8, 5)), torch.randint(3, (8,))
    optimizer = torch.optim.SparseAdam([model.embedding.weight], lr=0.1)

    def loss(spoilt: bool) -> Tensor:
        value = nn.functional.cross_entropy(model(words_BL), y_B)
        return value * math.nan if spoilt else value

    training, heard = Training(model, optimizer, None, loss), EventList()
    policy = {**RELOAD, "ladder": [{"action": action}]}
    guard = guard_of(training, [False] * 7 + [True] + [False] * 20, policy=policy, listeners=[heard])
    summary = guard.run(20)
    assert summary.status == "finished"
    assert heard.actions() == [action]
    assert "embedding.weight" in heard.named("signal")[1].tensors
    assert_finite(training)


def test_repeated_words_whose_sum_overflows_are_found() -> None:
    """Each of the two entries for a row is finite; the row that the optimizer adds up is not."""
    seed_all(0)
    model = nn.Embedding(4, 2, sparse=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    training = Training(model, optimizer, None, lambda scale: (model(torch.tensor([1, 1])) * scale).sum())
    before = everything(training)
    outcome = guard_of(training).step(3e38)
    assert not outcome.applied
    assert str(outcome.signals[0].name) in {"nonfinite_loss", "nonfinite_gradient"}
    assert_same(everything(training), before)


def test_a_loss_that_changes_the_mode_of_the_model() -> None:
    training = build()

    def loss(batch: Any) -> Tensor:
        training.model.eval()
        value = training.loss(batch)
        training.model.train()
        return value

    guard = guard_of(training, [BATCHES[0], nan_batch(BATCHES[1]), *BATCHES[2:]], loss=loss)
    assert guard.run(6).skipped_steps == 1
    assert training.model.training


def test_a_loss_that_raises_in_evaluation_mode_leaves_the_mode_as_it_was() -> None:
    training, batches = build(), list(BATCHES[:6])

    def loss(batch: Any) -> Tensor:
        if batch is batches[2]:
            training.model.eval()
            raise RuntimeError("half-way through")
        return training.loss(batch)

    assert guard_of(training, batches, loss=loss).run(6).skipped_steps == 1
    assert all(module.training for module in training.model.modules())


@pytest.mark.parametrize("scale", [2.0**16, 1.0])
def test_a_gradient_scaler_through_nan_reload_and_recovery(scale: float) -> None:
    training, heard = build(), EventList()
    training.scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=4)
    guard = guard_of(training, policy=RELOAD, listeners=[heard])
    states = []
    for batch in BATCHES[:8]:
        assert guard.step(batch).applied
        states.append(everything(training))
    assert guard.step(nan_batch(BATCHES[8])).action == "reload_checkpoint"
    assert_same(everything(training), states[5])
    for batch in BATCHES[9:20]:
        assert guard.step(batch).applied
    assert_finite(training)


def test_a_scaler_whose_overflows_never_end_is_no_calibration_for_ever() -> None:
    training, heard = build(), EventList()
    training.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**4)

    def loss(batch: Any) -> Tensor:
        first = next(training.model.parameters())
        return training.loss(batch) + (first * 0).sum().sqrt() * 0

    summary = guard_of(training, BATCHES, loss=loss, listeners=[heard]).run(100)
    assert summary.status == "halted"
    assert heard.actions()[0] == "skip_batch"
    assert_finite(training)


def test_a_run_directory_with_spaces_and_umlauts(tmp_path: Path) -> None:
    where = tmp_path / "mein Lauf – ü" / "a b"
    guard = guard_of(build(), BATCHES, run_dir=where)
    assert guard.run(3).status == "finished"
    guard.close()
    assert (where / "checkpoints" / "step-00000003" / "manifest.json").is_file()


def test_a_run_directory_that_holds_a_run_or_is_a_file_is_refused(tmp_path: Path) -> None:
    guard = guard_of(build(), BATCHES, run_dir=tmp_path / "run")
    guard.run(3)
    guard.close()
    with pytest.raises(InputError, match="holds a run already"):
        guard_of(build(), BATCHES, run_dir=tmp_path / "run")
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="choose another run directory"):
        guard_of(build(), BATCHES, run_dir=tmp_path / "file")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"


def test_a_guard_without_a_run_directory_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    guard_of(build(), [BATCHES[0], nan_batch(BATCHES[1])], policy=RELOAD).run(6)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["forward", "backward", "hook"])
@pytest.mark.parametrize("scaled", [False, True])
def test_an_interrupt_inside_a_step_passes_through_as_if_it_had_come_before(where: str, scaled: bool) -> None:
    def trained(interrupted: bool) -> tuple[Training, EventList]:
        training, heard, strikes = build(average=True, draws=True), EventList(), [interrupted]
        training.scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=3) if scaled else None

        def strike(here: str) -> None:
            if here == where and strikes[0] and guard.steps_done == 3:
                strikes[0] = False
                raise KeyboardInterrupt

        def loss(batch: Any) -> Tensor:
            value = training.loss(batch)
            strike("forward")
            value.register_hook(lambda gradient: strike("backward"))
            return value

        guard = guard_of(training, BATCHES, loss=loss, on_gradients=lambda norm: strike("hook"), listeners=[heard])
        if interrupted:
            for _ in range(3):
                guard.step(next(iter(guard.batches(4))))
            before = everything(training)
            with pytest.raises(KeyboardInterrupt):
                guard.run(10)
            assert_same(everything(training), before)
            assert all(parameter.grad is None for parameter in training.model.parameters())
        guard.run(10)
        assert (guard.steps_done, guard.updates_attempted, guard.batches_drawn) == (10, 10, 10)
        return training, heard

    (one, heard), (other, _) = trained(True), trained(False)
    assert_same(everything(one), everything(other))
    assert not heard.named("signal")


def test_a_batch_that_was_drawn_and_not_used_comes_again_after_a_resume(tmp_path: Path) -> None:
    one, other = build(), build()
    guard = guard_of(one, BATCHES, run_dir=tmp_path / "run")
    for number, batch in enumerate(guard.batches(10)):
        if number == 5:
            guard.finish(RunStatus.INTERRUPTED)
            break
        guard.step(batch)
    guard.close()
    one = build()
    guard_of(one, BATCHES, run_dir=tmp_path / "run", resume=True).run(10)
    build()
    guard_of(other, BATCHES).run(10)
    assert_same(everything(one), everything(other))


def test_a_stop_request_ends_after_the_step_in_progress(tmp_path: Path) -> None:
    training, heard = build(), EventList()

    def loss(batch: Any) -> Tensor:
        if guard.steps_done == 4:
            guard.request_stop()
        return training.loss(batch)

    guard = guard_of(training, BATCHES, loss=loss, run_dir=tmp_path / "run", listeners=[heard])
    summary = guard.run(10)
    assert (summary.status, summary.steps) == ("interrupted", 5)
    assert (tmp_path / "run" / "checkpoints" / "step-00000005").is_dir()
    assert heard[-1].event == "run_finished"


def test_an_evaluation_that_fails_loses_no_training(tmp_path: Path) -> None:
    heard = EventList()

    def evaluate() -> dict[str, float]:
        raise RuntimeError("no held-out data")

    guard = guard_of(build(), BATCHES, run_dir=tmp_path / "run", evaluate=evaluate, listeners=[heard])
    assert guard.run(4).status == "finished"
    assert any("no held-out data" in event.message for event in heard.named("warning"))
    assert (tmp_path / "run" / "checkpoints" / "step-00000004").is_dir()


def test_an_exception_of_ten_thousand_characters_is_one_line_on_record() -> None:
    training, heard = build(), EventList()

    def loss(batch: Any) -> Tensor:
        raise RuntimeError("x" * 10_000 + "\n" + "y" * 10_000)

    guard_of(training, BATCHES, loss=loss, listeners=[heard]).run(1)
    text = heard.named("signal")[0].exception
    assert text.startswith("RuntimeError: xxx")
    assert len(text) <= 500
    assert "\n" not in text


def test_lbfgs_is_refused() -> None:
    training = build()
    with pytest.raises(InputError, match="LBFGS"):
        Guard(model=training.model, optimizer=torch.optim.LBFGS(training.model.parameters()), loss=training.loss)


def test_a_learning_rate_that_turns_nan_poisons_nothing_that_is_kept() -> None:
    training, heard = build(), EventList()
    guard = guard_of(training, policy=RELOAD, listeners=[heard])
    for number, batch in enumerate(BATCHES[:20]):
        if number == 7:
            training.optimizer.param_groups[0]["lr"] = math.nan
        guard.step(batch)
    assert heard.actions() == ["reload_checkpoint"]
    assert training.optimizer.param_groups[0]["lr"] == 0.01
    assert_finite(training)


def test_a_run_ends_where_registered_state_refuses_to_go_back() -> None:
    """The reload fails, and so does the one that halting begins with."""

    class OnlyForward:
        def __init__(self) -> None:
            self.count = 0

        def state_dict(self) -> dict[str, int]:
            return {"count": self.count}

        def load_state_dict(self, state: dict[str, int]) -> None:
            if state["count"] < self.count:
                raise ValueError("it cannot go back")

    training, heard = build(), EventList()
    held = training.extra_state["log"] = OnlyForward()
    guard = guard_of(training, policy=quiet(ladder=[{"action": "reload_checkpoint"}]), listeners=[heard])
    guard.step(BATCHES[0])
    held.count = 1
    with pytest.raises(PolicyHalt):
        guard.step(nan_batch(BATCHES[1]))
    assert heard.actions() == ["reload_checkpoint", "halt"]
    assert guard.status == "halted"


class Mute(Exception):
    def __str__(self) -> str:
        return str(self.args[1])  # as one whose arguments were not those that it expects


@pytest.mark.parametrize("error", [Mute("bad row"), OSError("no file row\udc80.png")])
def test_an_exception_whose_text_cannot_be_made_or_written_is_a_finding_like_any_other(
    tmp_path: Path, error: Exception
) -> None:
    """`str` of it raises, or no UTF-8 file takes it: neither may leave `guard.run`."""
    training, calls = build(), iter(range(1000))

    def loss(batch: Any) -> Tensor:
        if next(calls) == 5:
            raise error
        return training.loss(batch)

    evaluated: Any = {"evaluate": lambda: (_ for _ in ()).throw(error)}
    guard = guard_of(replace(training, loss=loss), BATCHES, run_dir=tmp_path / "run", policy=quiet(), **evaluated)
    summary = guard.run(20)
    assert (summary.status, summary.incidents) == ("finished", 1)
    assert type(error).__name__ in (tmp_path / "run" / "incidents" / "0001" / "incident.json").read_text("utf-8")


def test_a_stream_that_breaks_passes_to_the_caller_and_the_run_is_not_finished() -> None:
    """Of a data set with rows, the one that raises is left out (test_unread)."""

    class Stream(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            yield from BATCHES[:2]
            raise ValueError("the stream broke")

    guard = guard_of(build(), torch.utils.data.DataLoader(Stream(), batch_size=None))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="the stream broke"):
        guard.run(5)
    assert (guard.status, guard.summary().status, guard.summary().steps) == (None, RunStatus.INTERRUPTED, 2)


def test_a_run_that_is_still_going_is_not_finished() -> None:
    guard = guard_of(build(), BATCHES)
    guard.step(BATCHES[0])
    assert guard.summary().status == "interrupted"
    assert guard.finish().status == guard.summary().status == "finished"
