"""A model in a file of its own: its tensors by name, as `state_dict` gives them, and where they come from."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from supervisor.errors import InputError, text_of
from supervisor.run_layout import replace_file
from supervisor.training.modules import COMPILED, named_parameters

__all__ = ["put_averages_into", "tensors_of", "write_model"]


def put_averages_into(model: nn.Module, averages: Mapping[str, Tensor]) -> None:
    """Put averaged weights in the place of a model's parameters; one that has no average keeps its own.

    Args:
        model: the model.
        averages: by the names of its parameters, with or without the prefix of `torch.compile`.

    Raises:
        InputError: one is of no parameter, or has another shape.
    """
    parameters = named_parameters(model)
    with torch.no_grad():
        for key, average in averages.items():
            parameter = parameters.get(_plain_name(key))
            if parameter is None or parameter.shape != average.shape:
                mend = "give them by the names of `model.named_parameters()`, each in its shape"
                raise InputError(f"averaged_weights: {key}, {tuple(average.shape)}, fits no parameter: {mend}")
            parameter.copy_(average)


def tensors_of(model: nn.Module) -> tuple[OrderedDict[str, Tensor], list[str]]:
    """The tensors of `model.state_dict()`, on the CPU, and the names of what in it is no tensor.

    They are named as without `torch.compile`. Each has memory of its own: weights that are tied come under each of
    their names, so that `load_state_dict` finds them all.
    """
    found: OrderedDict[str, Tensor] = OrderedDict()
    left_out = []
    for key, value in model.state_dict().items():
        name = _plain_name(key)
        if isinstance(value, Tensor):
            found[name] = value.detach().to("cpu", copy=True).contiguous()
        else:
            left_out.append(name)
    return found, left_out


def _plain_name(key: str) -> str:
    return ".".join(part for part in key.split(".") if part != COMPILED)


def write_model(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> None:
    """Write tensors into a `.safetensors` or a `.pt` file, whole or not at all, and read it back.

    Args:
        path: the file.
        tensors: by name.
        about: metadata: of a `.safetensors` file its own; of a `.pt` file the attribute `about` of the dictionary.

    Raises:
        InputError: a tensor is of a kind that the format does not take.
        OSError: the file could not be written.
    """
    content = _safetensors(tensors, about) if path.suffix == ".safetensors" else _pt(tensors, about)
    replace_file(path, content, durable=True)


def _safetensors(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> bytes:
    try:
        content: bytes = safetensors.torch.save(dict(tensors), dict(about))
        _compare(tensors, safetensors.torch.load(content))
    except (ValueError, KeyError, RuntimeError, safetensors.SafetensorError) as error:
        raise InputError(f"the model cannot stand in a .safetensors file: {text_of(error)}: write a .pt") from error
    return content


def _pt(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> bytes:
    state: Any = OrderedDict(tensors)
    # An attribute, so that the dictionary is what `load_state_dict` takes.
    state.about = dict(about)
    file = io.BytesIO()
    torch.save(state, file)
    _compare(tensors, torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    return file.getvalue()


def _compare(written: Mapping[str, Tensor], read: Mapping[str, Tensor]) -> None:
    for name, tensor in written.items():
        if not _same(tensor, read[name]):
            raise ValueError(f"{name} is not what it was once it is read back")


def _same(one: Tensor, other: Tensor) -> bool:
    if one.dtype is not other.dtype or one.shape != other.shape:
        return False
    # By bytes, for a NaN is not equal to itself.
    return torch.equal(one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))
