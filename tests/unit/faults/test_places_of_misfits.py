"""A fault that does not fit the trainer says which of the script it is, and which key of it is at fault."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from support.training import build, healthy_batches

from supervisor.faults import FaultInjector, FaultScript
from supervisor.faults.strike import FaultMisfit

FITS = {"kind": "nan_batch", "at_batch": 1}


@pytest.mark.parametrize(
    ("misfit", "key"),
    [
        ({"kind": "nan_weight", "at_batch": 1, "parameter": "outter.*"}, ["parameter"]),
        ({"kind": "forward_exception", "at_batch": 1, "module": "outter"}, ["module"]),
        ({"kind": "bit_flip", "at_batch": 1, "bit": 32}, ["bit"]),
        ({"kind": "disk_full", "at_batch": 1}, []),
        ({"kind": "corrupt_checkpoint", "at_batch": 1}, []),
        ({"kind": "nan_sample", "rows": [1]}, []),
    ],
    ids=lambda each: each["kind"] if isinstance(each, dict) else "",
)
def test_the_fault_and_its_key_are_named(misfit: dict[str, Any], key: list[str]) -> None:
    training = build()
    trainer: Any = SimpleNamespace(
        model=training.model, optimizer=training.optimizer, data=healthy_batches(2), loss=training.loss
    )
    script = FaultScript.model_validate({"faults": [FITS, misfit]}).faults
    with pytest.raises(FaultMisfit) as caught:
        FaultInjector(script, trainer)
    assert caught.value.path == ("faults", 1, *key)
    assert str(caught.value).startswith("faults: ")
    assert str(caught.value).endswith(caught.value.what)
