"""What sinks cost a training: the same training with them running and with them stopped, in turn.

A guard trains and writes its log, a `step` line at every step, and the process of the sinks follows it, as it does
beside `supervisor run`. For one block of steps it runs, for the next it is stopped by a signal, and so on; which of the
two comes first changes with each pair. What waits in the log is told in the next block in which the sinks run, so that
all of their work falls into the blocks that are charged for it. `well` is told all sinks that write files, an endpoint
that is scraped ten times a second, and a webhook that answers; `badly` are a webhook that takes five seconds for each
call, so that it is ever further behind, and sinks that raise at every call. Beside them stands the same with no sinks
at all, which shows the machine's noise.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import signal
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from overhead_workloads import WORKLOADS, Batch, Workload
from pages import Marks, machine
from torch import nn

from supervisor import Guard
from supervisor.events.writer import EventLog
from supervisor.job import Sinks
from supervisor.process.sinks_process import sinks_beside
from supervisor.process.sinks_spec import SinksSpec

MARKS = Marks.of("sinks")
WARM_UP_SECONDS = 8.0
SLOW_SECONDS = 5.0
KINDS = ("none", "well", "badly")
FILES = ("tensorboard", "csv", "parquet", "wandb", "mlflow")


@contextlib.contextmanager
def server(seconds: float) -> Iterator[str]:
    """A webhook that answers after so many seconds; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(seconds)
            with contextlib.suppress(OSError):
                self.send_response(200)
                self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as served:
        served.daemon_threads = True
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/"
        served.shutdown()


def sinks_of(kind: str, folder: Path) -> dict[str, Any]:
    """What the job says of its sinks."""
    webhook = {"url_file": "-", "events": ["step"]}
    if kind == "well":
        return {**dict.fromkeys(FILES), "prometheus": {"port": 0}, "webhook": webhook, "flush_seconds": 0.1}
    in_the_way = folder / "in-the-way"
    in_the_way.write_text("a file where a folder is wanted")
    raising = {name: {"directory": str(in_the_way)} for name in ("tensorboard", "csv", "parquet")}
    return {**raising, "webhook": webhook, "flush_seconds": 0.1}


class Beside:
    """The process of the sinks: to be stopped, and to go on.

    Args:
        kind: `none`, `well` or `badly`.
        run_dir: of the training.
    """

    def __init__(self, kind: str, run_dir: Path) -> None:
        self._kind = kind
        self._run_dir = run_dir
        self._pid: int | None = None
        self._addresses: list[str] = []
        self._scraping = threading.Event()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Start it, for as long as the block lasts."""
        if self._kind == "none":
            yield
            return
        with server(0.0 if self._kind == "well" else SLOW_SECONDS) as url:
            log = EventLog(None, "benchmark", None, listeners=[self._hear])
            sinks = Sinks.model_validate(sinks_of(self._kind, self._run_dir.parent))
            spec = SinksSpec(sinks=sinks, url=url, run_dir=self._run_dir, since=datetime.now(UTC))
            with sinks_beside(spec, "benchmark", log):
                self._pid = self._found()
                threading.Thread(target=self._scrape, daemon=True).start()
                yield
                self.signal(signal.SIGCONT)

    def signal(self, number: int) -> None:
        """Stop it, or let it go on."""
        if self._pid is not None:
            os.kill(self._pid, number)
        if number == signal.SIGCONT:
            self._scraping.set()
        else:
            self._scraping.clear()

    def _hear(self, event: Any) -> None:
        if event.event == "sink_ready":
            self._addresses.append(event.address)

    def _found(self) -> int:
        task = threading.get_native_id()
        children = Path(f"/proc/self/task/{task}/children").read_text().split()
        return next(int(each) for each in children if b"sinks_entry" in Path(f"/proc/{each}/cmdline").read_bytes())

    def _scrape(self) -> None:
        while True:
            self._scraping.wait()
            for address in self._addresses:
                with contextlib.suppress(OSError):
                    urllib.request.urlopen(address, timeout=1).read()
            time.sleep(0.1)


def measure(kind: str, workload: Workload, arguments: argparse.Namespace) -> tuple[list[float], float]:
    """Of each pair of blocks the time with sinks over that without; and the seconds of a step without."""
    torch.manual_seed(0)
    model = workload.build()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    batches = [workload.batch() for _ in range(8)]
    clock = time.thread_time if arguments.cpu_time else time.perf_counter

    def loss(batch: Batch) -> torch.Tensor:
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    with tempfile.TemporaryDirectory(prefix="sinks-") as folder:
        guard = Guard(
            model=model,
            optimizer=optimizer,
            loss=loss,
            run_dir=Path(folder, "run"),
            log_every_steps=arguments.log_every,
            # One would fall into one block in many, and count for it alone.
            policy={"checkpoint": {"every_steps": 1_000_000}},
        )

        def block() -> float:
            begun = clock()
            for number in range(arguments.steps):
                if not guard.step(batches[number % len(batches)]).applied:
                    raise RuntimeError("a step was flagged: this is not the healthy path")
            return clock() - begun

        ratios, without = [], []
        beside = Beside(kind, Path(folder, "run"))
        with beside.running():
            until = time.perf_counter() + WARM_UP_SECONDS
            while time.perf_counter() < until:
                block()
            for pair in range(arguments.pairs):
                seconds = {}
                for with_sinks in (True, False) if pair % 2 else (False, True):
                    beside.signal(signal.SIGCONT if with_sinks else signal.SIGSTOP)
                    seconds[with_sinks] = block()
                ratios.append(seconds[True] / seconds[False])
                without.append(seconds[False] / arguments.steps)
    return ratios, statistics.median(without)


def row(kind: str, workload: Workload, ratios: list[float], seconds: float) -> str:
    """One line of the table, in Markdown."""
    low, median, high = statistics.quantiles(ratios, n=4)
    doubt = 1.2533 * statistics.stdev(ratios) / len(ratios) ** 0.5
    step = f"{seconds * 1e3:.2f} ms"
    return (
        f"| {workload.name} ({step}) | {kind} | {median:.4f} ± {doubt:.4f} | {low:.3f} to {high:.3f} | {len(ratios)} |"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40, help="pairs of blocks, of each kind")
    parser.add_argument("--steps", type=int, default=100, help="steps of a block")
    parser.add_argument("--log-every", type=int, default=20, help="steps between two `step` lines of the log")
    parser.add_argument("--only", metavar="WORD", default="GRU, 1M", help="the workloads with this in their name")
    parser.add_argument("--cpu-time", action="store_true", help="of the training thread, where the machine is loaded")
    MARKS.add_option(parser)
    arguments = parser.parse_args()
    MARKS.check(arguments.write)
    torch.set_num_threads(1)
    timed = "CPU time of the training thread" if arguments.cpu_time else "wall time"
    command = " ".join(["python benchmarks/sinks.py", *sys.argv[1:]])
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    lines = [
        f"`{command}` on {machine()}, {os.cpu_count()} cores, 1 thread; {versions}; {timed}.",
        "",
        "| training | sinks | step time with over without, median | middle half | pairs |",
        "|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for workload in WORKLOADS:
        for kind in KINDS if arguments.only in workload.name else ():
            lines.append(row(kind, workload, *measure(kind, workload, arguments)))
            print(lines[-1], flush=True)
    if arguments.write is not None:
        MARKS.put(arguments.write, "\n".join(lines))


if __name__ == "__main__":
    main()
