"""A model in a file of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
import yaml
from torch import Tensor, nn

from energy_flow.config import EnergyConfig
from energy_flow.model import EnergyFlow
from supervisor.errors import InputError
from supervisor.process.exporting import put_averages_into, tensors_of, write_model

ABOUT = {"step": "8", "run_id": "abc", "trainer": "mine:Tiny"}


class Told(nn.Module):
    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 3}


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    model.register_buffer("scratch", torch.zeros(1), persistent=False)
    return model


def read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".pt":
        state: dict[str, Tensor] = torch.load(path, weights_only=True)
        return state
    return safetensors.torch.load_file(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_it_is_the_state_dict_and_loads_into_the_model(tmp_path: Path, suffix: str) -> None:
    model, path = tied(), tmp_path / f"model{suffix}"
    with torch.no_grad():
        model[2].bias[0] = float("nan")
    tensors, left_out = tensors_of(model)
    write_model(path, tensors, ABOUT)
    found = read(path)
    assert left_out == []
    assert found.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert torch.equal(found[name].nan_to_num(7), tensor.nan_to_num(7)), name
        assert found[name].dtype is tensor.dtype
    other = tied()
    other.load_state_dict(found)
    assert other[2].weight is other[0].weight
    assert torch.equal(other[0].weight, model[0].weight)


def test_where_it_comes_from_is_in_the_file(tmp_path: Path) -> None:
    tensors, _ = tensors_of(tied())
    for name in ("model.pt", "model.safetensors"):
        write_model(tmp_path / name, tensors, ABOUT)
    assert torch.load(tmp_path / "model.pt", weights_only=True).about == ABOUT
    with safetensors.safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata() == ABOUT


def test_slices_and_transposed_weights_are_written_as_they_are(tmp_path: Path) -> None:
    model, large = nn.Module(), torch.arange(1_000_000.0)
    model.register_buffer("slice", large[10:20])
    model.register_buffer("turned", torch.arange(6.0).reshape(2, 3).t())
    tensors, _ = tensors_of(model)
    for name in ("model.pt", "model.safetensors"):
        write_model(tmp_path / name, tensors, {})
        assert read(tmp_path / name)["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]
        assert (tmp_path / name).stat().st_size < 10_000


def test_a_compiled_model_has_the_names_of_the_model_itself() -> None:
    model = tied()
    assert tensors_of(torch.compile(model))[0].keys() == model.state_dict().keys()  # type: ignore[arg-type]


def test_what_is_no_tensor_is_named() -> None:
    assert tensors_of(nn.Sequential(nn.Linear(1, 1), Told()))[1] == ["1._extra_state"]


def test_a_kind_that_the_format_does_not_take_is_refused_with_the_mend(tmp_path: Path) -> None:
    sparse = {"w": torch.eye(3).to_sparse()}
    with pytest.raises(InputError, match=r"cannot stand in a \.safetensors file: .*: write a \.pt"):
        write_model(tmp_path / "model.safetensors", sparse, {})
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_text("old")
    (tmp_path / ".model.pt").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_model(path, {"w": torch.zeros(1)}, {})
    assert path.read_text() == "old"


def test_the_lines_in_the_documents_load_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[3]
    page = root / "docs" / "evaluation.md"
    (lines,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in lines.splitlines() if line]) == 5
    job = yaml.safe_load(
        Path(__file__).parents[3].joinpath("configs/jobs/energy_flow.yaml").read_text(encoding="utf-8")
    )
    model = EnergyFlow(EnergyConfig.model_validate(job["config"]))
    tensors, _ = tensors_of(model)
    monkeypatch.chdir(tmp_path)
    write_model(Path("model.safetensors"), tensors, ABOUT)
    names: dict[str, Any] = {}
    exec(lines, names)
    assert not names["model"].training
    for name, tensor in model.state_dict().items():
        assert torch.equal(names["model"].state_dict()[name], tensor)


def test_averages_stand_in_for_weights_by_name_with_and_without_the_prefix_of_a_compiled_model() -> None:
    for key in ("0.weight", "_orig_mod.0.weight", "0._orig_mod.weight"):
        model = tied()
        bias = model[0].bias.detach().clone()
        put_averages_into(model, {key: torch.full((3, 3), 2.0)})
        tensors, _ = tensors_of(model)
        assert torch.equal(tensors["0.weight"], torch.full((3, 3), 2.0))
        assert torch.equal(tensors["2.weight"], tensors["0.weight"])
        assert torch.equal(tensors["0.bias"], bias), "what has no average keeps its own"


@pytest.mark.parametrize(("name", "shape"), [("9.weight", (3, 3)), ("0.weight", (3,))])
def test_an_average_that_fits_no_parameter_is_told(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=rf"averaged_weights: {re.escape(name)}, .* fits no parameter: give them by"):
        put_averages_into(tied(), {name: torch.ones(shape)})
