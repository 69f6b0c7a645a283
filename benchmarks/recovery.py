"""What each rung of going back costs: snapshot, rollback, checkpoint, verified load, cold restart.

Every quantity is measured beside what one would write by hand (a bare copy, `copy.deepcopy` of the state dicts,
`torch.save` and `torch.load`, `torch.distributed.checkpoint`), interleaved, and given as a median with its spread (half
the distance between the quartiles) and as a ratio to the first of its kind.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# This file's own folder comes first on the path, where a neighbour's name would hide the package energy_flow.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from benchmarks.pages import machine  # noqa: E402

SIZES = {"1M": (64, 320, 2), "10M": (128, 1024, 2)}
"""Input size, hidden size and layers of the GRU."""

TRAINER = """
import torch

class Trainer:
    def __init__(self, config):
        self.model = torch.nn.GRU(*config["gru"])
        self.optimizer = torch.optim.AdamW(self.model.parameters(), fused=True)
        self.data = [torch.ones(2, 2, config["gru"][0])]

    @classmethod
    def from_config(cls, config, *, seed):
        return cls(config)

    def loss(self, batch):
        return self.model(batch)[0].square().mean()
"""

BARE = """
import sys
import torch

sys.path.insert(0, sys.argv[1])
torch.set_num_threads(1)
from mine import Trainer

trainer = Trainer({"gru": [int(part) for part in sys.argv[3].split(",")]})
state = torch.load(sys.argv[2], weights_only=True)
trainer.model.load_state_dict(state["model"])
trainer.optimizer.load_state_dict(state["optimizer"])
trainer.loss(trainer.data[0]).backward()
trainer.optimizer.step()
print("stepped", flush=True)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="interleaved rounds of each measurement in memory")
    parser.add_argument("--restarts", type=int, default=7, help="interleaved cold restarts")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES), help="parameters")
    arguments = parser.parse_args()

    import torch

    torch.set_num_threads(1)
    print(f"{machine()}; Python {platform.python_version()}, torch {torch.__version__}; 1 thread")
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory(prefix="recovery-") as folder:
            print(f"\n{size} parameters")
            _in_memory(SIZES[size], arguments.repeats)
            _on_disk(SIZES[size], Path(folder), arguments.repeats)
            _cold_restart(SIZES[size], Path(folder), arguments.restarts)


def _in_memory(gru: tuple[int, int, int], repeats: int) -> None:
    import torch

    trainer, subject = _trained(gru)
    held = _tensors(trainer)
    captured = subject.capture()
    bare = [tensor.clone() for tensor in held]

    def rollback() -> None:
        with torch.no_grad():
            torch._foreach_copy_(held, bare)

    _report(
        "snapshot",
        repeats,
        {
            "bare copy (clone of every tensor)": lambda: [tensor.clone() for tensor in held],
            "guard: capture": subject.capture,
            "copy.deepcopy of the state dicts": lambda: (
                copy.deepcopy(trainer.model.state_dict()),
                copy.deepcopy(trainer.optimizer.state_dict()),
            ),
        },
    )
    _report(
        "rollback",
        repeats,
        {
            "bare copy (_foreach_copy_)": rollback,
            "guard: restore": lambda: subject.restore(captured),
        },
    )


def _on_disk(gru: tuple[int, int, int], folder: Path, repeats: int) -> None:
    import torch
    import torch.distributed.checkpoint as dcp

    from supervisor.checkpoints import BackgroundWriter, CheckpointStore

    trainer, subject = _trained(gru)
    held = _tensors(trainer)
    store = CheckpointStore(folder / "store", "benchmark")
    writer = BackgroundWriter()
    pending: list[Any] = []
    spares: list[Any] = []

    def state() -> dict[str, Any]:
        return {"model": trainer.model.state_dict(), "optimizer": trainer.optimizer.state_dict()}

    def begin() -> None:
        # As the guard does it: into the memory of a copy that is no longer needed.
        captured = subject.capture(spares.pop() if spares else None)
        tree = captured.to_tree()
        writer.begin(lambda: store.write(1, 1, tree), lambda done: (done.result(), spares.append(captured)))

    def dcp_async() -> None:
        shutil.rmtree(folder / "async", ignore_errors=True)
        pending.append(dcp.async_save(state(), checkpoint_id=str(folder / "async"), no_dist=True))

    def settle() -> None:
        writer.settle(wait=True)
        while pending:
            pending.pop().result()

    def dcp_sync() -> None:
        shutil.rmtree(folder / "sync", ignore_errors=True)
        dcp.save(state(), checkpoint_id=str(folder / "sync"), no_dist=True)

    _report(
        "checkpoint: time stolen from the training thread",
        repeats,
        {
            "bare copy (clone of every tensor)": lambda: [tensor.clone() for tensor in held],
            "guard: capture and hand over": begin,
            "dcp.async_save": dcp_async,
        },
        after=settle,
    )
    _report(
        "checkpoint: until it is on disk",
        repeats,
        {
            "torch.save (no fsync, no hash, not atomic)": lambda: torch.save(state(), folder / "plain.pt"),
            "guard: capture, write, fsync, hash, rename": lambda: (begin(), settle()),
            "dcp.save": dcp_sync,
        },
    )
    path = store.committed()[0].path
    _report(
        "load",
        repeats,
        {
            "torch.load (weights_only)": lambda: torch.load(folder / "plain.pt", weights_only=True),
            "guard: verify and load": lambda: store.load(path),
        },
    )


def _cold_restart(gru: tuple[int, int, int], folder: Path, restarts: int) -> None:
    import torch

    trainer, _ = _trained(gru)
    (folder / "mine.py").write_text(TRAINER, encoding="utf-8")
    torch.save({"model": trainer.model.state_dict(), "optimizer": trainer.optimizer.state_dict()}, folder / "bare.pt")
    sizes = ",".join(str(part) for part in gru)

    took = 0.0

    def bare() -> None:
        nonlocal took
        command = [sys.executable, "-c", BARE, str(folder), str(folder / "bare.pt"), sizes]
        started = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE) as script:
            assert script.stdout is not None
            if script.stdout.readline() != b"stepped\n":
                raise RuntimeError("the bare script failed")
            took = time.perf_counter() - started

    run = _PreparedRun(gru, folder)
    _report(
        "cold restart, from starting the process to its first applied step",
        restarts,
        {"bare script": bare, "worker: resume and step": run.restart},
        own_time={"bare script": lambda: took, "worker: resume and step": run.seconds},
    )


class _PreparedRun:
    """A run with one checkpoint, to be taken up again and again."""

    def __init__(self, gru: tuple[int, int, int], folder: Path) -> None:
        from supervisor.job import load_job
        from supervisor.process.spec import WorkerSpec

        job = {
            "version": 1,
            "trainer": "mine:Trainer",
            "config": {"gru": list(gru)},
            "steps": 1,
            "device": "cpu",
            "run_dir": str(folder / "run"),
        }
        self._folder = folder
        (folder / "job.yaml").write_text(json.dumps(job), encoding="utf-8")
        command = [sys.executable, "-m", "supervisor", "run", "job.yaml"]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        self._kept = folder / "kept"
        shutil.copytree(folder / "run", self._kept)
        resolved = load_job(str(folder / "job.yaml"), steps=1_000_000)
        self._spec = WorkerSpec.of(resolved, run_id="benchmark", resume=True)
        self._took = 0.0

    def restart(self) -> None:
        """Start a worker on the checkpoint and end it after its first step."""
        from supervisor.process.heartbeat import Heartbeat, Phase

        run_dir = Path(self._spec.run_dir)
        shutil.rmtree(run_dir)
        shutil.copytree(self._kept, run_dir)
        heartbeat = Heartbeat(self._spec.layout.heartbeat, create=True)
        started = time.perf_counter()
        worker = subprocess.Popen(
            [sys.executable, "-m", "supervisor.process.worker_entry"],
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            process_group=0,
        )
        assert worker.stdin is not None
        worker.stdin.write(self._spec.model_dump_json().encode() + b"\n")
        worker.stdin.flush()
        while heartbeat.read().phase is not Phase.TRAINING or heartbeat.read().step < 1:
            if worker.poll() is not None:
                raise RuntimeError(f"the worker ended with {worker.returncode}")
            time.sleep(0.001)
        self._took = time.perf_counter() - started
        worker.kill()
        worker.wait()
        heartbeat.close()

    def seconds(self) -> float:
        """What the last restart took, without preparing it and ending it."""
        return self._took


def _trained(gru: tuple[int, int, int]) -> tuple[Any, Any]:
    """A trainer after one step, and the guard's view of it."""
    from supervisor.training.inspection import parameter_names
    from supervisor.training.state import Subject

    namespace: dict[str, Any] = {}
    exec(TRAINER, namespace)
    trainer = namespace["Trainer"]({"gru": gru})
    trainer.loss(trainer.data[0]).backward()
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    names = parameter_names(trainer.model, trainer.optimizer)
    return trainer, Subject(trainer.model, trainer.optimizer, None, None, {}, names)


def _tensors(trainer: Any) -> list[Any]:
    state = [tensor for held in trainer.optimizer.state.values() for tensor in held.values()]
    return [*(parameter.detach() for parameter in trainer.model.parameters()), *state]


def _report(
    title: str,
    repeats: int,
    contenders: dict[str, Callable[[], Any]],
    *,
    after: Callable[[], None] | None = None,
    own_time: dict[str, Callable[[], float]] | None = None,
) -> None:
    """Measure all contenders in turn, `repeats` times, and print a line for each; the first round does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(repeats + 1):
        for name, work in contenders.items():
            started = time.perf_counter()
            result = work()
            took = time.perf_counter() - started
            del result
            if after is not None:
                after()
            if own_time is not None and name in own_time:
                took = own_time[name]()
            if number:
                seconds[name].append(took)
    print(f"  {title}")
    base = statistics.median(next(iter(seconds.values())))
    for name, taken in seconds.items():
        median = statistics.median(taken)
        low, _, high = statistics.quantiles(taken, n=4)
        print(f"    {name:<46} {median * 1e3:9.2f} ms  ± {(high - low) / 2 * 1e3:7.2f}   x {median / base:.2f}")


if __name__ == "__main__":
    main()
