"""Which modules a rung means."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn
from torch.nn.utils import parametrizations

from supervisor.actions.module_matching import kind_of, match_modules, recurrent_modules
from supervisor.errors import InputError


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.Encoder = nn.Sequential(nn.Linear(2, 2), nn.GRU(2, 2))
        self.carrier = nn.Module()
        self.carrier.gru = nn.GRU(2, 2)
        self.carrier.cell = nn.LSTMCell(2, 2)
        self.head = nn.Linear(2, 1)


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

    def test_a_shared_module_is_found_once(self) -> None:
        model = nn.Module()
        model.a = model.b = nn.GRU(1, 1)
        assert list(recurrent_modules(model)) == ["a"]


def test_the_class_of_a_parametrized_module_is_the_one_that_the_user_wrote() -> None:
    plain: Any = nn.GRU(2, 3)
    assert kind_of(plain) is nn.GRU
    assert kind_of(parametrizations.weight_norm(plain, "weight_hh_l0")) is nn.GRU
