"""How well the default job answers pairs that nothing was chosen on, beside its baselines, and which part does what.

Trains the default job (configs/jobs/energy_flow.yaml) with several seeds, then each ablation with the first of them, in
a plain loop without the guard. All are measured on the test part, which nothing else reads. One after the other, on one
thread; about two minutes each.

    python benchmarks/energy_flow_held_out.py --write docs/energy_flow.md
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
# This file's own folder comes first on the path, where its neighbour's name would hide the package it measures.
sys.path[0] = str(ROOT)

import torch  # noqa: E402
import yaml  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks.pages import Marks  # noqa: E402
from energy_flow.energy_trainer import EnergyTrainer  # noqa: E402
from energy_flow.flow import FlowState  # noqa: E402
from energy_flow.model import EnergyFlow, EnergyFlowOutput  # noqa: E402

MARKS = Marks.of("held out")

METRICS = ("squared_error", "mrr", "top1", "top10")


class Row(NamedTuple):
    """One row of the table.

    Attributes:
        name: what was measured.
        scores: the four metrics.
        seconds: of the training, 0 where there was none.
    """

    name: str
    scores: tuple[float, ...]
    seconds: float = 0.0

    def __str__(self) -> str:
        """The row in Markdown."""
        took = f"{self.seconds:.0f}" if self.seconds else ""
        return f"| {self.name} | " + " | ".join(f"{score:.3f}" for score in self.scores) + f" | {took} |"


def freeze_flows(model: EnergyFlow) -> None:
    """Neuron and carrier stay as they were drawn; encoder and decoder learn around them."""
    model.neuron.requires_grad_(False)
    model.carrier.requires_grad_(False)


def take_flows_out(model: EnergyFlow) -> None:
    """The encoder's surface straight into the decoder: an ordinary network of the same encoder and decoder."""

    def forward(question_BE: Tensor) -> EnergyFlowOutput:
        nothing = question_BE.new_zeros(())
        return EnergyFlowOutput(model.decoder(model.encoder(question_BE)), nothing, nothing)

    model.forward = forward  # type: ignore[method-assign]


def shuffle_flows(model: EnergyFlow) -> None:
    """Each flow brings what another one of its sample has brought."""
    bring = model._brought

    def shuffled(state: FlowState) -> Tensor:
        brought_FC = bring(state)
        slots = model.config.flow_slots
        order = torch.randperm(slots, generator=torch.Generator().manual_seed(0))
        return brought_FC.reshape(-1, slots, brought_FC.shape[1])[:, order].flatten(0, 1)

    model._brought = shuffled  # type: ignore[method-assign]


def forget_memory(model: EnergyFlow) -> None:
    """The flows bring their energy alone."""
    bring = model._brought

    def energy_alone(state: FlowState) -> Tensor:
        return bring(state._replace(hidden_LFh=torch.zeros_like(state.hidden_LFh)))

    model._brought = energy_alone  # type: ignore[method-assign]


ABLATIONS: dict[str, tuple[dict[str, Any], Callable[[EnergyFlow], None] | None]] = {
    "no flows: encoder straight into decoder": ({}, take_flows_out),
    "neuron and carrier left as drawn": ({}, freeze_flows),
    "without the echo (`echo_end: 0`)": ({"echo_end": 0.0}, None),
    "one number a flow (`embedding_part_dim: 1`)": ({"embedding_part_dim": 1}, None),
}
"""Trained anew: what the config says otherwise, and what is done to the model first."""

AT_THE_TEST: dict[str, Callable[[EnergyFlow], None]] = {
    "flows shuffled among the cells, at the test alone": shuffle_flows,
    "flows robbed of their memory, at the test alone": forget_memory,
}
"""Done to the trained model."""


def trained(
    config: dict[str, Any], steps: int, seed: int, prepare: Callable[[EnergyFlow], None] | None
) -> EnergyTrainer:
    """A trainer after its whole schedule."""
    trainer = EnergyTrainer.from_config(config, seed=seed, steps=steps)
    torch.manual_seed(seed)
    if prepare is not None:
        prepare(trainer.model)
    epochs = itertools.chain.from_iterable(itertools.repeat(trainer.data))
    for batch in itertools.islice(epochs, steps):
        trainer.loss(batch).backward()
        trainer.on_gradients(0.0)
        trainer.optimizer.step()
        trainer.optimizer.zero_grad()
        trainer.scheduler.step()
    return trainer


def scores(metrics: dict[str, float], prefix: str = "") -> tuple[float, ...]:
    """The four metrics of the model, or of the baseline of this prefix."""
    return tuple(metrics[prefix + name] for name in METRICS)


def main() -> None:
    """Train, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8, 9], help="of the default job (default: 7 8 9)")
    parser.add_argument("--steps", type=int, help="instead of the job's own")
    parser.add_argument("--part", choices=("test", "validation"), default="test", help="what to measure on")
    parser.add_argument("--without-ablations", action="store_true", help="the default job alone")
    MARKS.add_option(parser)
    arguments = parser.parse_args()
    MARKS.check(arguments.write)

    torch.set_num_threads(1)
    job = yaml.safe_load((ROOT / "configs" / "jobs" / "energy_flow.yaml").read_text(encoding="utf-8"))
    steps = arguments.steps or job["steps"]
    rows: list[Row] = []

    def tell(row: Row) -> None:
        rows.append(row)
        print(row, flush=True)

    def run(
        name: str, seed: int, config: dict[str, Any], prepare: Callable[[EnergyFlow], None] | None
    ) -> EnergyTrainer:
        started = time.process_time()
        trainer = trained({**job["config"], **config}, steps, seed, prepare)
        tell(Row(name, scores(trainer.evaluate(arguments.part)), time.process_time() - started))
        return trainer

    trainers = [run(f"EnergyFlow, seed {seed}", seed, {}, None) for seed in arguments.seeds]
    means = [statistics.fmean(each) for each in zip(*(row.scores for row in rows), strict=True)]
    tell(Row(f"**EnergyFlow, mean of {len(trainers)}**", tuple(means)))
    metrics = trainers[0].evaluate(arguments.part)
    rank = next(name.split("_")[0] for name in metrics if name.startswith("rank"))
    for name, prefix in (("mean answer", "mean_answer_"), ("ridge regression", "ridge_")):
        tell(Row(name, scores(metrics, prefix)))
    tell(Row(f"best linear map of rank {rank.removeprefix('rank')}", scores(metrics, f"{rank}_")))
    if not arguments.without_ablations:
        seed = arguments.seeds[0]
        state = trainers[0].model.state_dict()
        for name, spoil in AT_THE_TEST.items():
            trainer = EnergyTrainer.from_config(job["config"], seed=seed, steps=steps)
            trainer.model.load_state_dict(state)
            spoil(trainer.model)
            tell(Row(f"{name}, seed {seed}", scores(trainer.evaluate(arguments.part))))
        for name, (config, prepare) in ABLATIONS.items():
            run(f"{name}, seed {seed}", seed, config, prepare)
    pairs = trainers[0].pairs
    held = pairs.test if arguments.part == "test" else pairs.validation
    lines = [
        f"{steps:,} steps on {len(pairs.question_NE):,} pairs; measured on the {len(held[0])} of the {arguments.part} "
        f"part, in pools of {trainers[0].config.candidate_pool} candidates; seconds are CPU time.",
        "",
        "| | squared error | MRR | top 1 | top 10 | seconds |",
        "|---|---|---|---|---|---|",
        *map(str, rows),
    ]
    if arguments.write:
        MARKS.put(arguments.write, "\n".join(lines))


if __name__ == "__main__":
    main()
