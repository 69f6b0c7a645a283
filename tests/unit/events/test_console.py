"""What a person sees of a run while it runs: recoveries as lines, and a bar on a terminal."""

from __future__ import annotations

import io
import os
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
    assert show(STEP, LOSS, SKIP, SKIPPED, terminal=False, width=40) == (
        "141/2000 steps: loss 0.7031, grad norm 1.5, lr 0.001 x 0.5, 0.04 s a step, 1 incident, on rung 2\n"
        "step 120 (update 124): nonfinite_loss (loss nan) -> skip_batch (rung 0): "
        "the lowest rung\n"
    )


def test_names_in_square_brackets_are_printed_as_they_are():
    said = show(schema.WarningEvent(message="layers[0] [bold]is[/bold] [/odd]"), terminal=False)

    assert said == "warning: layers[0] [bold]is[/bold] [/odd]\n"


def test_on_a_terminal_a_bar_shows_the_numbers_and_recoveries_stand_above_it():
    shown = show(STEP, LOSS, SKIP, SKIPPED, terminal=True)

    recovery = shown.index("-> skip_batch (rung 0)")
    assert "141/2000" in shown
    assert "loss 0.7031  grad 1.5  lr x0.5  rung 2  incidents 1" in shown
    assert "141/2000" in shown[recovery:], "the bar is drawn again below the recovery"
    assert "141/2000 steps:" not in shown, "no plain step lines beside a bar"


def test_advance_redraws_ten_times_a_second_at_most():
    out = io.StringIO()
    clock = FakeClock()
    with ConsoleRenderer(100, Console(file=out, force_terminal=True, width=150), clock) as renderer:
        for step in range(50):
            renderer.advance(step, loss=1.0, grad_norm=2.0, lr_scale=1.0, rung=None, incidents=0)
            clock.advance(0.01)
        drawn = [step for step in range(50) if f" {step + 1}/100" in out.getvalue()]

    assert 5 <= len(drawn) <= 6
    assert drawn[0] == 0


def test_advance_without_a_bar_prints_nothing():
    out = io.StringIO()
    with ConsoleRenderer(100, Console(file=out, force_terminal=False)) as renderer:
        renderer.advance(3, loss=1.0, grad_norm=2.0, lr_scale=1.0, rung=None, incidents=0)

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
                renderer.advance(number, 1.0, 1.0, 1.0, None, 0)
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
