"""What the guard costs a healthy step: the same training with it and without it, in turn, in one process.

Each contender has its own copy of the model, of the same seed and on the same batches, and takes a few steps before the
next one's turn; the order of a round begins one further each time. One thread, fused AdamW, no clipping, the default
policy. Beside the guard stand a second bare loop, which shows the machine's noise, and what people write by hand.

`mean` and `median` are seconds of a step over the bare loop's; a median hides what is not done at every step (the check
of the state at every tenth, a snapshot at every twentieth). `spread` is the middle half of the ratios of twenty steps
each, which hold one snapshot.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from supervisor import Guard

WARMUP_STEPS = 183
"""Steps that do not count, on one sample each: by then snapshots use memory again, and a checkpoint (the 200th step)
falls into the middle of a turn."""

UNIT_STEPS = 20
"""Steps of one ratio of the spread: as many as lie between two snapshots."""

BEGIN, END = "<!-- overhead: begin -->", "<!-- overhead: end -->"

LossFunction = Callable[[tuple[Tensor, Tensor]], Tensor]


@dataclass(frozen=True)
class Workload:
    """A training to measure.

    Attributes:
        name: as it stands in the table.
        build: makes the model and gives the loss over its output.
        batch: draws one batch.
        steps: steps that count, a multiple of 20.
        turn_steps: steps until the next contender's turn; many short ones, so that caches are warm for most of them.
    """

    name: str
    build: Callable[[], nn.Module]
    batch: Callable[[], tuple[Tensor, Tensor]]
    steps: int
    turn_steps: int = 5


class Recurrent(nn.Module):
    """A GRU and a linear head on its last output."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs, hidden, num_layers=2, batch_first=True)
        self.head = nn.Linear(hidden, inputs)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, inputs] -> [B, inputs]."""
        output: Tensor = self.gru(x)[0][:, -1]
        return self.head(output)  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Eight encoder layers over tokens: 99 parameter tensors."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 8, enable_nested_tensor=False)
        self.head = nn.Linear(width, tokens)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T] -> [B, tokens]."""
        return self.head(self.encoder(self.embedding(x)).mean(1))  # type: ignore[no-any-return]


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 128))


def _sequences(batch: int, length: int, inputs: int) -> Callable[[], tuple[Tensor, Tensor]]:
    return lambda: (torch.randn(batch, length, inputs), torch.randn(batch, inputs))


WORKLOADS = (
    Workload("GRU, 1M parameters", lambda: Recurrent(64, 320), _sequences(32, 16, 64), 160),
    Workload("GRU, 10M parameters", lambda: Recurrent(128, 1024), _sequences(32, 16, 128), 60),
    Workload(
        "transformer, 99 tensors",
        lambda: Transformer(256, 128),
        lambda: (torch.randint(256, (16, 32)), torch.randn(16, 256)),
        100,
    ),
    Workload("MLP", _mlp, lambda: (torch.randn(64, 128), torch.randn(64, 128)), 2000, turn_steps=50),
)


class Contender:
    """One training and its times: a loop by hand, with `inspect` between backward and the update.

    Attributes:
        seconds: of each step that counted.
    """

    def __init__(self, workload: Workload, inspect: Callable[[Tensor, Sequence[Tensor]], object] | None = None) -> None:
        torch.manual_seed(0)
        self.model = workload.build()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.seconds: list[float] = []
        self._parameters = list(self.model.parameters())
        self._inspect = inspect

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Mean squared error."""
        x, y = batch
        return nn.functional.mse_loss(self.model(x), y)

    def step(self, batch: tuple[Tensor, Tensor]) -> None:
        """One update."""
        self.optimizer.zero_grad()
        loss = self.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        if self._inspect is not None:
            self._inspect(loss, self._parameters)
        self.optimizer.step()

    def settle(self) -> None:
        """Wait for what must not run into another one's turn."""


class Guarded(Contender):
    """The same under the guard."""

    def __init__(self, workload: Workload, run_dir: Path | None) -> None:
        super().__init__(workload)
        self._guard = Guard(model=self.model, optimizer=self.optimizer, loss=self.loss, run_dir=run_dir)

    def step(self, batch: tuple[Tensor, Tensor]) -> None:
        """One supervised update."""
        if not self._guard.step(batch).applied:
            raise RuntimeError("a step was flagged: this is not the healthy path")

    def settle(self) -> None:
        """Wait for the checkpoint that is being written."""
        self._guard.flush()


class Anomaly(Contender):
    """A loop under autograd's anomaly detection."""

    def step(self, batch: tuple[Tensor, Tensor]) -> None:
        """One update."""
        with torch.autograd.set_detect_anomaly(True):
            super().step(batch)


def _isfinite_loop(_: Tensor, parameters: Sequence[Tensor]) -> None:
    for parameter in parameters:
        if not torch.isfinite(parameter).all() or not torch.isfinite(parameter.grad).all():  # type: ignore[arg-type]
            raise FloatingPointError("not finite")


def _clip_and_item(loss: Tensor, parameters: Sequence[Tensor]) -> float:
    torch.nn.utils.clip_grad_norm_(parameters, float("inf"), error_if_nonfinite=True)
    return loss.item()


@contextmanager
def _contenders(workload: Workload) -> Iterator[dict[str, Contender]]:
    with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
        yield {
            "bare loop": Contender(workload),
            "bare loop again (noise)": Contender(workload),
            "**guard**, in memory": Guarded(workload, None),
            "**guard**, with a run directory": Guarded(workload, Path(folder) / "run"),
            "`clip_grad_norm_(error_if_nonfinite=True)`, `loss.item()`": Contender(workload, _clip_and_item),
            "`isfinite` over parameters and gradients": Contender(workload, _isfinite_loop),
            "`set_detect_anomaly(True)`": Anomaly(workload),
        }


def measure(workload: Workload, steps: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each step that counts, of every contender."""
    with _contenders(workload) as contenders:
        torch.manual_seed(1)
        batches = [workload.batch() for _ in range(8)]
        # One row each, for speed, and never the same: to a model that knows its rows by heart others are a jump.
        warmup = [tuple(part[:1] for part in workload.batch()) for _ in range(WARMUP_STEPS)]
        for contender in contenders.values():
            for x, y in warmup:
                contender.step((x, y))
            contender.settle()
        gc.collect()
        in_turn = list(contenders.values())
        for first in range(0, steps, workload.turn_steps):
            for contender in in_turn:
                for number in range(first, min(first + workload.turn_steps, steps)):
                    batch = batches[number % len(batches)]
                    started = clock()
                    contender.step(batch)
                    contender.seconds.append(clock() - started)
                contender.settle()
            in_turn = [*in_turn[1:], in_turn[0]]
        return {name: contender.seconds for name, contender in contenders.items()}


def table(workload: Workload, seconds: dict[str, list[float]]) -> list[str]:
    """The rows of one workload, in Markdown."""
    bare = next(iter(seconds.values()))
    step = f"{statistics.fmean(bare) * 1e3:.2f} ms a step"
    lines = [
        f"| {workload.name}: {step} | mean | median | spread | added a step |",
        "|---|---|---|---|---|",
    ]
    for name, taken in itertools.islice(seconds.items(), 1, None):
        mean = statistics.fmean(taken) / statistics.fmean(bare)
        median = statistics.median(taken) / statistics.median(bare)
        ratios = [sum(mine) / sum(theirs) for mine, theirs in zip(_units(taken), _units(bare), strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4)
        added = (statistics.fmean(taken) - statistics.fmean(bare)) * 1e6
        lines.append(f"| {name} | {mean:.3f} | {median:.3f} | {low:.3f} to {high:.3f} | {added:+,.0f} µs |")
    return [*lines, ""]


def _units(taken: list[float]) -> list[list[float]]:
    return [taken[start : start + UNIT_STEPS] for start in range(0, len(taken), UNIT_STEPS)]


def write(path: Path, lines: list[str]) -> None:
    """Put `lines` between the two marks of a document."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path}: needs the lines {BEGIN} and {END}")
    table_text = "\n".join(lines).rstrip()
    path.write_text(f"{before}{BEGIN}\n{table_text}\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer steps, for a first look")
    parser.add_argument("--only", metavar="WORD", default="", help="the workloads with this in their name")
    parser.add_argument("--cpu-time", action="store_true", help="of the training thread, where the machine is loaded")
    parser.add_argument("--write", metavar="FILE.md", type=Path, help=f"put the table between {BEGIN} and {END}")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    clock = time.thread_time if arguments.cpu_time else time.perf_counter
    timed = "CPU time of the training thread" if arguments.cpu_time else "wall time"
    command = " ".join(["python benchmarks/overhead.py", *sys.argv[1:]])
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    lines = [f"`{command}` on {_machine()}, 1 thread; {versions}; {timed}.", ""]
    print("\n".join(lines), flush=True)
    for workload in WORKLOADS:
        if arguments.only in workload.name:
            steps = max(40, workload.steps // 4) if arguments.quick else workload.steps
            rows = table(workload, measure(workload, steps, clock))
            print("\n".join(rows), flush=True)
            lines += rows
    if arguments.write is not None:
        write(arguments.write, lines)


def _machine() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
