"""Which modules a rung means."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn
from torch.nn.utils import parametrizations

from supervisor.actions.module_matching import kind_of, match_modules, recurrent_modules, whole_cell
from supervisor.errors import InputError


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.Encoder = nn.Sequential(nn.Linear(2, 2), nn.GRU(2, 2))
        self.carrier = nn.Module()
        self.carrier.gru = nn.GRU(2, 2)
        self.carrier.cell = nn.LSTMCell(2, 2)
        self.head = nn.Linear(2, 1)


class OwnCell(nn.Module):
    """A recurrent cell that is none of torch's, made of layers."""

    is_recurrent_cell = True

    def __init__(self) -> None:
        super().__init__()
        self.inward, self.around = nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2))

    def reset_parameters(self) -> None:
        """By a rule of its own."""


class Wrapper(nn.Module):
    """Looks like what it wraps, as the wrappers of FSDP and of adapters do, and has more in it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.head = inner, nn.Linear(2, 2)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.inner, name)


class TestOwnCells:
    def test_a_module_that_says_so_is_recurrent_and_is_found_as_a_whole(self) -> None:
        model = nn.Sequential(nn.Linear(2, 2), OwnCell(), nn.ModuleDict({"deep": OwnCell()}))
        assert list(recurrent_modules(model)) == ["1", "2.deep"]

    def test_one_may_say_so_by_itself(self) -> None:
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        model[1].is_recurrent_cell = True  # type: ignore[assignment]
        assert list(recurrent_modules(model)) == ["1"]

    @pytest.mark.parametrize("said", [False, 1, "yes", nn.Linear(1, 1)])
    def test_anything_but_true_says_nothing(self, said: object) -> None:
        model = nn.Sequential(nn.Linear(2, 2))
        model[0].is_recurrent_cell = said  # type: ignore[assignment]
        assert recurrent_modules(model) == {}

    def test_what_derives_from_torchs_cells_is_recurrent(self) -> None:
        class Mine(nn.GRUCell):
            pass

        assert list(recurrent_modules(nn.Sequential(Mine(2, 2)))) == ["0"]

    def test_a_wrapper_that_hands_on_what_its_module_says_is_no_cell(self) -> None:
        model = nn.Sequential(Wrapper(OwnCell()))
        assert list(recurrent_modules(model)) == ["0.inner"]
        assert whole_cell(model, "0.inner.inward")[0] == "0.inner"
        assert whole_cell(model, "0.head")[0] == "0.head"

    def test_a_part_of_a_cell_that_draws_itself_stands_for_the_cell(self) -> None:
        model = nn.Sequential(nn.Linear(2, 2), OwnCell())
        for name in ("1", "1.inward", "1.around", "1.around.0"):
            assert whole_cell(model, name) == ("1", model[1])
        assert whole_cell(model, "0") == ("0", model[0])
        assert whole_cell(model, "") == ("", model)
        assert whole_cell(OwnCell(), "inward")[0] == ""

    def test_a_part_of_a_cell_that_does_not_stands_for_itself(self) -> None:
        model = nn.Sequential(nn.Sequential(nn.Linear(2, 2)))
        model[0].is_recurrent_cell = True  # type: ignore[assignment]
        assert whole_cell(model, "0.0") == ("0.0", model[0][0])  # type: ignore[index]


class TestMatching:
    @pytest.mark.parametrize(
        ("globs", "names"),
        [
            (["carrier.gru"], ["carrier.gru"]),
            (["CARRIER.*"], ["carrier.gru", "carrier.cell"]),
            (["encoder"], ["Encoder"]),
            (["encoder*"], ["Encoder"]),
            (["*gru*"], ["Encoder.1", "carrier.gru"]),
            (["GRU"], ["Encoder.1", "carrier.gru"]),
            (["lstmcell", "head"], ["carrier.cell", "head"]),
            (["head", "linear"], ["Encoder.0", "head"]),
            (["carrier", "carrier.gru"], ["carrier"]),
            (["encoder.[01]"], ["Encoder.0", "Encoder.1"]),
            (["model"], [""]),
        ],
    )
    def test_qualified_names_and_class_names_whatever_the_case(self, globs: list[str], names: list[str]) -> None:
        model = Model()
        matched = match_modules(model, globs)
        assert sorted(matched) == sorted(names)
        assert all(matched[name] is model.get_submodule(name) for name in matched)

    @pytest.mark.parametrize(
        ("glob", "nearest"),
        [("carrier.gur", "carrier.gru"), ("LSTMCel", "LSTMCell"), ("HAED", "head"), ("ENCODR", "Encoder")],
    )
    def test_a_glob_that_matches_nothing_is_refused_with_the_nearest_names(self, glob: str, nearest: str) -> None:
        with pytest.raises(InputError) as caught:
            match_modules(Model(), ["head", glob])
        assert f"{glob!r} matches no module: write one of: " in str(caught.value)
        assert nearest in str(caught.value).split("write one of: ")[1].split(", ")

    def test_a_glob_like_nothing_at_all_still_offers_names(self) -> None:
        with pytest.raises(InputError, match=r"write one of: Encoder, Encoder\.0, Encoder\.1"):
            match_modules(Model(), ["zzzzzz"])

    def test_recurrent_modules_are_found_wherever_they_are(self) -> None:
        assert sorted(recurrent_modules(Model())) == ["Encoder.1", "carrier.cell", "carrier.gru"]
        assert recurrent_modules(nn.Linear(1, 1)) == {}
        assert list(recurrent_modules(nn.GRU(1, 1))) == [""]

    def test_what_is_frozen_is_left_alone(self) -> None:
        """A pretrained encoder that is drawn afresh would stay as it was drawn."""
        model = Model()
        model.Encoder.requires_grad_(False)
        model.carrier.gru.bias_hh_l0.requires_grad_(False)
        assert sorted(recurrent_modules(model)) == ["carrier.cell", "carrier.gru"]
        assert sorted(match_modules(model, ["encoder.1"])) == ["Encoder.1"]

    def test_a_shared_module_is_found_once(self) -> None:
        model = nn.Module()
        model.a = model.b = nn.GRU(1, 1)
        assert list(recurrent_modules(model)) == ["a"]


def test_the_class_of_a_parametrized_module_is_the_one_that_the_user_wrote() -> None:
    plain: Any = nn.GRU(2, 3)
    assert kind_of(plain) is nn.GRU
    assert kind_of(parametrizations.weight_norm(plain, "weight_hh_l0")) is nn.GRU
