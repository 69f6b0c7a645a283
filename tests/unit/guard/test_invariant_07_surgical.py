"""Invariant 7: beside the good state it starts from, only the redrawn modules and their optimizer state differ."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support.digits import DigitsGru
from support.exact import assert_finite, assert_same, differences, everything, seed_all
from support.training import EventList, Training, quiet
from torch import Tensor, nn

from supervisor import Guard, InputError

STATE = {"snapshot": {"every_steps": 4, "keep": 2}, "probation_steps": 2, "cooldown_steps": 3}


class Model(DigitsGru):
    """Two recurrent parts, dropout and running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(32)
        self.drop = nn.Dropout(0.2)
        self.cell = nn.LSTMCell(32, 32)

    def forward(self, images_B88: Tensor) -> Tensor:
        outputs, _ = self.gru(images_B88)
        hidden, _ = self.cell(self.drop(self.norm(outputs[:, -1])))
        logits: Tensor = self.head(hidden)
        return logits


class OwnCell(nn.Module):
    """A recurrent cell of the user's own, made of layers, that draws itself."""

    is_recurrent_cell = True

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.around = nn.Linear(32, 32), nn.Linear(32, 32)

    def reset_parameters(self) -> None:
        nn.init.orthogonal_(self.around.weight)
        for values in (self.inward.weight, self.inward.bias, self.around.bias):
            nn.init.uniform_(values, -0.1, 0.1)

    def forward(self, inputs_Bh: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.zeros_like(inputs_Bh)
        for _ in range(3):
            hidden = torch.tanh(self.inward(inputs_Bh) + self.around(hidden))
        return hidden, hidden


def build(kind: type[torch.optim.Optimizer] = torch.optim.Adam) -> Training:
    seed_all(0)
    model = Model()
    optimizer = kind(model.parameters(), lr=0.01)  # type: ignore[call-arg]
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 50)

    def loss(batch: Any) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    return Training(model, optimizer, scheduler, loss)


def batches(count: int) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    return [
        (torch.randn(6, 8, 8, generator=generator), torch.randint(10, (6,), generator=generator)) for _ in range(count)
    ]


BATCHES = batches(40)


def bad(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return batch[0] * math.nan, batch[1]


def redraw(
    training: Training, rung: dict[str, Any] | None = None, *, seed: int = 0, **options: Any
) -> tuple[dict[str, Any], dict[str, Any], EventList]:
    """Seven healthy steps and a bad one; gives the good state of step 4, everything after, and the events."""
    heard = EventList()
    ladder = [{"action": "reinitialize", **(rung or {})}]
    guard = Guard(
        model=training.model,
        optimizer=training.optimizer,
        scheduler=training.scheduler,
        loss=training.loss,
        policy=quiet(ladder=ladder, **STATE),
        seed=seed,
        listeners=[heard],
        **options,
    )
    good: dict[str, Any] = {}
    for number in range(7):
        guard.step(BATCHES[number])
        if number == 3:
            good = everything(training)
    assert guard.step(bad(BATCHES[7])).action == "reinitialize"
    assert guard.steps_done == 4
    return good, everything(training), heard


def numbers(training: Training, prefix: str) -> set[int]:
    names = [name for name, _ in training.model.named_parameters()]
    return {index for index, name in enumerate(names) if name.startswith(prefix)}


@pytest.mark.parametrize("modules", ["auto", ["gru"], ["LSTMCell"], ["head"], ["*GRU", "norm"], ["h*d"]])
def test_only_the_matched_modules_and_their_moments_differ(modules: Any) -> None:
    prefixes = {
        "auto": ("gru", "cell"),
        "gru": ("gru",),
        "LSTMCell": ("cell",),
        "head": ("head",),
        "*GRU,norm": ("gru", "norm"),
        "h*d": ("head",),
    }[modules if isinstance(modules, str) else ",".join(modules)]
    training = build()
    good, after, heard = redraw(training, {"modules": modules})
    changed = differences(after, good)
    redrawn = {index for prefix in prefixes for index in numbers(training, prefix)}
    allowed = tuple(f"parameters.{prefix}." for prefix in prefixes) + tuple(f"buffers.{prefix}." for prefix in prefixes)
    assert changed
    for path in changed:
        if path.startswith("optimizer.state."):
            assert int(path.split(".")[2]) in redrawn, path
        else:
            assert path.startswith(allowed), path
    held = after["optimizer"]["state"]
    assert set(held) == set(good["optimizer"]["state"]) - redrawn
    for prefix in prefixes:
        matrices = [n for n, p in training.model.named_parameters() if n.startswith(f"{prefix}.") and p.dim() > 1]
        assert all(f"parameters.{name}" in changed for name in matrices)
    assert heard.named("action_applied")[0].modules == tuple(
        name for name in ("gru", "head", "norm", "cell") if name in prefixes
    )


@pytest.mark.parametrize("modules", ["auto", ["cell"], ["owncell"]])
def test_a_cell_of_the_users_own_is_redrawn_by_its_own_rule_and_its_moments_are_cleared(modules: Any) -> None:
    training = build()
    training.model.cell = OwnCell()
    training.optimizer = torch.optim.Adam(training.model.parameters(), lr=0.01)
    training.scheduler = None
    good, after, heard = redraw(training, {"modules": modules})
    names = ("gru", "cell") if modules == "auto" else ("cell",)
    assert heard.named("action_applied")[0].modules == names
    redrawn = {index for name in names for index in numbers(training, f"{name}.")}
    assert set(after["optimizer"]["state"]) == set(good["optimizer"]["state"]) - redrawn
    weight: Any = training.model.cell.around.weight
    torch.testing.assert_close(weight @ weight.T, torch.eye(32))
    for path in differences(after, good):
        assert path.startswith(("optimizer.state.", *(f"parameters.{name}." for name in names))), path


def test_a_gru_is_drawn_by_the_rule_for_grus() -> None:
    training = build()
    redraw(training, {"modules": ["gru"], "method": "orthogonal"})
    gru: Any = training.model.gru
    hidden = gru.hidden_size
    for gate in gru.weight_hh_l0.detach().split(hidden):
        assert torch.allclose(gate @ gate.T, torch.eye(hidden), atol=1e-5)
    bound = math.sqrt(6 / (8 + hidden))
    assert float(gru.weight_ih_l0.abs().max()) <= bound
    assert torch.equal(gru.bias_ih_l0, torch.zeros(3 * hidden))
    reset, update, new = gru.bias_hh_l0.detach().split(hidden)
    assert torch.equal(update, torch.ones(hidden))
    assert not reset.any()
    assert not new.any()


def test_the_global_generators_stay_the_good_states() -> None:
    good, after, _ = redraw(build())
    assert_same(after["rng"], good["rng"])


def test_the_same_seed_draws_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (redraw(build(), seed=seed)[1] for seed in (5, 5, 6))
    assert_same(first, again)
    assert "parameters.gru.weight_hh_l0" in differences(first, other)


def test_a_second_redraw_draws_other_weights() -> None:
    training = build()
    rung = {"action": "reinitialize", "attempts": 2, "limit": {"uses": 2, "window_updates": 100}}
    guard = Guard(
        model=training.model,
        optimizer=training.optimizer,
        loss=training.loss,
        policy=quiet(ladder=[rung], **STATE),
    )
    drawn = []
    for _ in range(2):
        guard.step(bad(BATCHES[0]))
        drawn.append(training.model.gru.weight_hh_l0.detach().clone())  # type: ignore[union-attr]
    assert not torch.equal(*drawn)


def test_nan_in_the_moments_does_not_outlive_a_redraw() -> None:
    training = build()
    _, _, heard = redraw(training)
    assert_finite(training)
    guard = Guard(
        model=training.model,
        optimizer=training.optimizer,
        scheduler=training.scheduler,
        loss=training.loss,
        policy=quiet(detect={"state_every_steps": 1}),
    )
    assert all(guard.step(batch).applied for batch in BATCHES[8:14])
    assert len(heard.named("action_applied")) == 1


def test_the_trainers_own_rule_comes_first() -> None:
    training, asked = build(), []

    def reset(name: str, module: nn.Module, *_: Any) -> bool:
        asked.append(name)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.fill_(0.125)
        return name == "gru"

    redraw(training, reset_module=reset)
    assert asked == ["gru", "cell"]
    assert all(bool((p == 0.125).all()) for p in training.model.gru.parameters())  # type: ignore[union-attr]
    assert not any(bool((p == 0.125).all()) for p in training.model.cell.parameters())  # type: ignore[union-attr]


def test_a_glob_that_matches_nothing_is_refused_at_the_start_with_the_nearest_names() -> None:
    training = build()
    ladder = [{"action": "reinitialize", "modules": ["grus"]}]
    with pytest.raises(InputError, match=r"grus.*matches no module.*gru"):
        Guard(
            model=training.model, optimizer=training.optimizer, loss=training.loss, policy=quiet(ladder=ladder, **STATE)
        )


def test_what_is_committed_after_a_redraw_is_the_redrawn_state(tmp_path: Path) -> None:
    training = build()
    _, after, _ = redraw(training, run_dir=tmp_path / "run")
    newest = max((tmp_path / "run" / "checkpoints").glob("step-*"), key=lambda path: path.stat().st_mtime_ns)
    tree = torch.load(newest / "state.pt", weights_only=True)
    assert_same(tree["moment"]["training"]["parameters"], after["parameters"])
    assert not (newest / "good.json").exists()
