"""Several processes that train one model together are refused: real groups, real DTensors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.guard.ranks import many_ranks, sharded
from supervisor.testing.tiny import TinyNet, TinyTrainer

RANK = """
import sys
import torch.distributed as distributed
from torch.nn.parallel import DistributedDataParallel
from supervisor import Guard
from supervisor.errors import InputError
from supervisor.testing.tiny import TinyTrainer

rank, ranks, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
trainer = TinyTrainer()
late = sys.argv[4:] == ["late"]
def join():
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=ranks)
if not late:
    join()
    model = DistributedDataParallel(trainer.model)
else:
    model = trainer.model
try:
    guard = Guard(
        model=model, optimizer=trainer.optimizer, loss=trainer.loss, data=trainer.data, run_dir=f"{folder}/run{rank}"
    )
    if late:
        join()
    print(guard.run(3).status.value)
except InputError as error:
    print("refused:", error)
distributed.destroy_process_group()
"""

DTENSOR = """
import sys
import torch.distributed as distributed
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.optim import SGD
from supervisor import Guard
from supervisor.errors import InputError

distributed.init_process_group("gloo", init_method=f"file://{sys.argv[1]}/meet", rank=0, world_size=1)
model, mesh = nn.Linear(4, 2), init_device_mesh("cpu", (1,))
model.weight = nn.Parameter(distribute_tensor(model.weight.detach(), mesh, [Shard(0)]))
for parameters in (model.parameters(), [nn.Parameter(distribute_tensor(model.bias.detach(), mesh, [Shard(0)]))]):
    optimizer = SGD(parameters, lr=0.1)
    try:
        Guard(model=model if len(optimizer.param_groups[0]["params"]) > 1 else nn.Identity(), optimizer=optimizer)
    except InputError as error:
        print(error)
distributed.destroy_process_group()
"""


def said_by_ranks(ranks: int, folder: Path, *more: str) -> list[str]:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(ranks), str(folder), *more], stdout=subprocess.PIPE, text=True
        )
        for rank in range(ranks)
    ]
    return [process.communicate(timeout=300)[0].strip() for process in started]


@pytest.mark.parametrize(
    "when",
    [(), pytest.param(("late",), marks=pytest.mark.slow)],
    ids=["before", "after_the_guard_was_built"],
)
def test_two_ranks_are_refused_alike_and_nothing_is_written(when: tuple[str, ...], tmp_path: Path) -> None:
    said = said_by_ranks(2, tmp_path, *when)
    expected = (
        "refused: torch.distributed: 2 ranks train together, and a guard knows only its own: train in one process"
    )
    assert [each.startswith(expected) for each in said] == [True, True]
    written = [path for path in tmp_path.glob("run*/**/*") if path.is_file() and path.stat().st_size]
    # Where the group came later, the directory was open by then.
    assert {path.name for path in written} <= ({"rank0.lock", "policy.yaml", ".lock"} if when else set())


def test_a_group_of_one_rank_is_as_none(tmp_path: Path) -> None:
    assert said_by_ranks(1, tmp_path) == ["finished"]


def test_dtensors_are_refused_by_name(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DTENSOR, str(tmp_path)], capture_output=True, text=True, check=False)
    of_model, of_optimizer = done.stdout.splitlines()
    assert of_model.startswith(
        "model: weight is a DTensor (FSDP2, tensor parallel), of which a guard would see one part"
    )
    assert of_optimizer.startswith("optimizer: 1 of its parameters are DTensors")


def test_a_process_by_itself_has_neither() -> None:
    trainer = TinyTrainer()
    assert [*many_ranks(), *sharded(trainer.model, trainer.optimizer), *sharded(TinyNet(), trainer.optimizer)] == []
