"""From run directories to the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from supervisor.clock import Clock, SystemClock
from supervisor.page.account_chart import MEANINGS, account_chart
from supervisor.page.chart import Chart
from supervisor.page.comparing import comparing_charts, names_of
from supervisor.page.gathering import Progress, RunData, gather, log_bytes
from supervisor.page.headline import SIGN_OF_STATE, compared, facts, figures
from supervisor.page.incident_rows import incident_rows
from supervisor.page.looks import SIGNS
from supervisor.page.rendering import rendered
from supervisor.page.run_charts import ladder_chart, rate_chart, step_time_chart, training_chart
from supervisor.page.thinning import MOST_POINTS, RULE
from supervisor.report.durations import duration
from supervisor.version import __version__

__all__ = ["build_page"]


def build_page(run_dirs: Sequence[str], clock: Clock | None = None, progress: Progress | None = None) -> str:
    """One HTML page of one run, or of several beside each other. Nothing is written.

    Args:
        run_dirs: the run directories as the user typed them, one or more.
        clock: says when the page was made.
        progress: is told how many bytes of the logs have been read.

    Raises:
        InputError: one of them holds no run, or its log or a record in it is damaged.
    """
    runs = [*_gathered(run_dirs, progress)]
    several = len(runs) > 1
    pictures: dict[str, Any] = {}
    views = [
        _view(run, name, f"r{index}-", pictures, several=several)
        for index, (run, name) in enumerate(zip(runs, names_of(runs), strict=True))
    ]
    return rendered(
        pictures,
        (clock or SystemClock()).now(),
        title=f"{len(runs)} runs compared" if several else runs[0].name,
        version=__version__,
        runs=views,
        several=several,
        compared=compared(runs) if several else [],
        comparing=[_placed(chart, f"all-{index}", pictures) for index, chart in enumerate(_comparing(runs))],
        meanings=MEANINGS,
        signs=SIGNS,
        rule=RULE,
        most_points=MOST_POINTS,
    )


def _gathered(run_dirs: Sequence[str], progress: Progress | None) -> Iterator[RunData]:
    before = 0
    for run_dir in run_dirs:
        yield gather(run_dir, None if progress is None else _after(before, progress))
        before += log_bytes(run_dir)


def _after(before: int, progress: Progress) -> Progress:
    return lambda read: progress(before + read)


def _comparing(runs: Sequence[RunData]) -> list[Chart]:
    if len(runs) < 2:
        return []
    account = account_chart([*zip(names_of(runs), runs, strict=True)])
    return [*comparing_charts(runs), *([] if account is None else [account])]


def _view(run: RunData, name: str, prefix: str, pictures: dict[str, Any], *, several: bool) -> dict[str, Any]:
    status = run.story.status
    measured = len(run.curves) > 0
    charts = [training_chart(run, prefix), rate_chart(run, prefix)] if measured else []
    ladder = ladder_chart(run, prefix)
    charts += [] if ladder is None else [ladder]
    charts += [step_time_chart(run, prefix)] if measured else []
    account = account_chart([(name, run)])
    parts = (
        []
        if status.account is None or not status.account.seconds
        else [
            (
                part,
                meaning,
                duration(status.account.parts[part]),
                f"{status.account.parts[part] / status.account.seconds:.1%}",
            )
            for part, meaning in MEANINGS.items()
        ]
    )
    return {
        "name": name,
        "run_dir": run.run_dir,
        "prefix": prefix,
        # Of several runs each part is called by its run too.
        "labelled": f"{prefix}name " if several else "",
        "of": f" of {name}" if several else "",
        "status": status,
        "sign": SIGN_OF_STATE[status.state],
        "figures": figures(run),
        "facts": facts(run),
        "charts": [_placed(chart, f"{prefix}chart-{index}", pictures) for index, chart in enumerate(charts)],
        "account": None if account is None else _placed(account, f"{prefix}account", pictures),
        "parts": parts,
        "incidents": [*incident_rows(run, prefix)],
        "checkpoints": run.checkpoints,
        "lives": run.lives,
        "ranks": run.ranks,
        "job": run.job,
        "policy": run.policy,
        "last_step": max(run.curves.step, default=0),
    }


def _placed(chart: Chart, place: str, pictures: dict[str, Any]) -> dict[str, Any]:
    pictures[place] = chart.plain()
    return {"place": place, "chart": chart}
