"""Where the wall time went: one bar for each run, by the account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from supervisor.page.chart import Chart, axis, frame
from supervisor.page.gathering import RunData
from supervisor.page.labels import label
from supervisor.report.durations import duration, told_account

__all__ = ["MEANINGS", "account_chart"]

MEANINGS = {
    "training": "updates that were applied and kept",
    "wasted": "updates that were discarded, gone back over, or lost with a process",
    "recovery": "diagnosis, experiments, trials of cures, and actions",
    "checkpoints": "waiting for snapshots and checkpoints",
    "start_up": "imports, building the trainer, restoring a checkpoint",
    "down": "no worker at work",
    "other": "data, evaluation, the guard's own work, ending",
}
"""The parts of the account in the order in which they are drawn, with what each holds."""

_HATCHES = {"wasted": "/", "recovery": ".", "checkpoints": "\\", "down": "x", "other": "-"}


def account_chart(runs: Sequence[tuple[str, RunData]]) -> Chart | None:
    """The wall time of some runs; None where none of them has any.

    Args:
        runs: each with the name that it has on the page.
    """
    told = [(name, run.story.status.account) for name, run in runs]
    known = [(name, account) for name, account in told if account is not None and account.seconds > 0]
    if not known:
        return None
    data: list[dict[str, Any]] = []
    for part in MEANINGS:
        seconds = [account.parts[part] for _, account in known]
        if not any(seconds):
            continue
        shares = [account.parts[part] / account.seconds for _, account in known]
        data.append(
            {
                "type": "bar",
                "orientation": "h",
                "name": part.replace("_", "-"),
                "y": [label(name, 24) for name, _ in known],
                "x": seconds,
                "marker": {
                    "color": f"color:{part}",
                    "line": {"width": 1, "color": "color:ground"},
                    "pattern": {
                        "fillmode": "overlay",
                        "shape": _HATCHES.get(part, ""),
                        "fgcolor": "color:ground",
                        "size": 6,
                        "solidity": 0.25,
                    },
                },
                "hovertext": [
                    label(f"{part.replace('_', '-')}: {duration(each)} ({share:.1%})")
                    for each, share in zip(seconds, shares, strict=True)
                ],
                "hovertemplate": "%{hovertext}<extra></extra>",
            }
        )
    layout = frame(
        barmode="stack",
        margin={"l": 6 if len(runs) == 1 else 128, "r": 12, "t": 34, "b": 44},
        bargap=0.35,
        dragmode=False,
        xaxis=axis("seconds of wall time", fixedrange=True),
        yaxis=axis("", fixedrange=True, autorange="reversed", visible=len(runs) > 1),
        legend={"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom", "traceorder": "normal"},
    )
    summary = " ".join(
        f"{name}: {told_account(account)}." if len(runs) > 1 else f"{told_account(account)}." for name, account in known
    )
    return Chart("Wall time by account", summary, 150 + 44 * len(known), data, layout, linked=False)
