"""What a person is told of a run while it runs: steps and recoveries, as lines."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import textwrap

from rich.console import Console

from supervisor.events import schema
from supervisor.events.console import ConsoleRenderer
from supervisor.events.schema import Event
from supervisor.records import ActionName, SignalName
from supervisor.testing.clock import FakeClock

AT = {"step": 120, "update": 124}
LOSS = schema.SignalEvent.model_validate({**AT, "signal": SignalName.NONFINITE_LOSS, "loss": float("nan")})
OPENED = schema.IncidentOpenedEvent(**AT, incident=1)
MEMORY = "N MB"
SKIP = schema.DecisionEvent(**AT, incident=1, rung=0, action=ActionName.SKIP_BATCH, attempt=1, reason="the lowest rung")
SKIPPED = schema.ActionAppliedEvent(**AT, incident=1, action=ActionName.SKIP_BATCH, seconds=0.001)
STEP = schema.StepEvent(
    step=140,
    update=144,
    loss=0.70312,
    grad_norm=1.5,
    lr=1e-3,
    lr_scale=0.5,
    step_seconds=0.04,
    incidents=1,
    rung=2,
)


def show(*events: Event, terminal: bool, width: int = 200) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, color_system=None)
    with ConsoleRenderer(2000, console, FakeClock()) as renderer:
        for event in events:
            renderer(event)
    return out.getvalue()


def test_away_from_a_terminal_each_step_event_is_one_plain_line():
    shown = show(STEP, OPENED, LOSS, SKIP, SKIPPED, terminal=False, width=40)
    assert re.sub(r"[\d.]+ [MG]B", MEMORY, shown) == (
        f"step 141/2000  7%  loss 0.7031  grad 1.5  lr 0.0005 (cut)  {MEMORY}  1 incident  rung 2\n"
        "step 120  nonfinite_loss  loss nan  → skipped\n"
    )


def test_names_in_square_brackets_are_printed_as_they_are():
    said = show(schema.WarningEvent(message="layers[0] [bold]is[/bold] [/odd]"), terminal=False)

    assert said == "warning: layers[0] [bold]is[/bold] [/odd]\n"


def test_a_step_by_itself_prints_nothing():
    out = io.StringIO()
    with ConsoleRenderer(100, Console(file=out, force_terminal=False)) as renderer:
        renderer.advance(None)

    assert out.getvalue() == ""


def test_a_reader_of_the_output_that_leaves_does_not_end_the_run():
    script = """
        import sys
        from rich.console import Console
        from supervisor.events.console import ConsoleRenderer
        from supervisor.events.schema import WarningEvent
        with ConsoleRenderer(10, Console(force_terminal=%s)) as renderer:
            for number in range(3):
                renderer(WarningEvent(message="m"))
                renderer.advance(None)
        sys.stderr.write("the run went on")
    """
    for terminal in (False, True):
        read_end, write_end = os.pipe()
        os.close(read_end)
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script % terminal)],
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        os.close(write_end)
        assert (done.returncode, done.stderr) == (0, "the run went on")


def test_a_step_tells_how_fast_it_goes_and_how_long_it_takes():
    out, clock = io.StringIO(), FakeClock()
    with ConsoleRenderer(1000, Console(file=out, width=40, color_system=None), clock) as renderer:
        for _ in range(40):
            clock.advance(0.5)
            renderer.advance(0.987)
        renderer(STEP)
    assert re.search(r"lr 0\.0005 \(cut\)  2 steps/s  7 min left  goodput 99%  [\d.]+ [MG]B", out.getvalue())


def test_on_a_terminal_too_each_step_is_a_line_where_no_view_can_be_shown():
    assert show(STEP, terminal=True).splitlines()[0].startswith("step 141/2000  7%  loss 0.7031")


class Tee:
    """As a trainer writes it: no `flush`, no `isatty`, no `encoding`."""

    def write(self, text: str) -> None:
        raise RuntimeError("no such window")


def test_a_display_that_breaks_is_said_once_and_left_out(capsys):
    with ConsoleRenderer(10, Console(file=Tee(), force_terminal=True), FakeClock()) as renderer:
        renderer(STEP)
        renderer(schema.WarningEvent(message="m"))
    assert capsys.readouterr().err == "supervisor: the display is left out: RuntimeError: no such window\n"
