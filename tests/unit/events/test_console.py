"""What a person sees of a run while it runs: recoveries as lines, and a bar on a terminal."""

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
from supervisor.events.step_line import Shown
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


def test_on_a_terminal_a_bar_shows_the_numbers_and_recoveries_stand_above_it():
    shown = show(STEP, OPENED, LOSS, SKIP, SKIPPED, terminal=True)

    recovery = shown.index("step 120  nonfinite_loss  loss nan  → skipped")
    assert "141/2000" in shown
    assert "  7%" in shown
    assert re.search(r"loss 0\.7031  grad 1\.5  lr 0\.0005 \(cut\)  [\d.]+ [MG]B  1 incident  rung 2", shown)
    assert "141/2000" in shown[recovery:], "the bar is drawn again below the recovery"
    assert "step 141/2000  7%" not in shown, "no plain step lines beside a bar"


def test_advance_redraws_ten_times_a_second_at_most():
    out = io.StringIO()
    clock = FakeClock()
    with ConsoleRenderer(100, Console(file=out, force_terminal=True, width=150), clock) as renderer:
        for step in range(50):
            renderer.advance(Shown(step=step, loss=1.0, grad_norm=2.0))
            clock.advance(0.01)
        drawn = [step for step in range(50) if f" {step + 1}/100" in out.getvalue()]

    assert 5 <= len(drawn) <= 6
    assert drawn[0] == 0


def test_advance_without_a_bar_prints_nothing():
    out = io.StringIO()
    with ConsoleRenderer(100, Console(file=out, force_terminal=False)) as renderer:
        renderer.advance(Shown(step=3, loss=1.0, grad_norm=2.0))

    assert out.getvalue() == ""


def test_a_reader_of_the_output_that_leaves_does_not_end_the_run():
    script = """
        import sys
        from rich.console import Console
        from supervisor.events.console import ConsoleRenderer
        from supervisor.events.schema import WarningEvent
        from supervisor.events.step_line import Shown
        with ConsoleRenderer(10, Console(force_terminal=%s)) as renderer:
            for number in range(3):
                renderer(WarningEvent(message="m"))
                renderer.advance(Shown(number, 1.0, 1.0))
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


def test_the_bar_tells_how_fast_it_goes_and_how_long_it_takes():
    out, clock = io.StringIO(), FakeClock()
    with ConsoleRenderer(1000, Console(file=out, force_terminal=True, width=150, color_system=None), clock) as renderer:
        for step in range(40):
            clock.advance(0.5)
            renderer.advance(Shown(step=step, loss=1.0, grad_norm=2.0, lr=1e-3, goodput=0.987))
    assert re.search(
        r"40/1000 +4% .+ loss 1  grad 2  lr 0\.001  2 steps/s  8 min left  goodput 99%  [\d.]+ [MG]B", out.getvalue()
    )


def test_the_bar_fits_a_narrow_terminal():
    out, clock = io.StringIO(), FakeClock()
    with ConsoleRenderer(
        10_000, Console(file=out, force_terminal=True, width=60, color_system=None), clock
    ) as renderer:
        for step in range(40):
            clock.advance(0.5)
            renderer.advance(Shown(step=step, loss=1.0, grad_norm=2.0, lr=1e-3, goodput=0.987))
    drawn = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", out.getvalue()).replace("\r", "\n").splitlines()
    assert max(len(line) for line in drawn) <= 60
    assert any("loss 1  grad 2" in line for line in drawn)


class Tee:
    """As a trainer writes it: no `flush`, no `isatty`, no `encoding`."""

    def write(self, text: str) -> None:
        raise RuntimeError("no such window")


def test_a_display_that_breaks_is_said_once_and_left_out(capsys):
    with ConsoleRenderer(10, Console(file=Tee(), force_terminal=True), FakeClock()) as renderer:
        renderer(STEP)
        renderer.advance(Shown(step=3, loss=1.0, grad_norm=2.0))
        renderer(schema.WarningEvent(message="m"))
    assert capsys.readouterr().err == "supervisor: the display is left out: RuntimeError: no such window\n"


def test_a_worker_that_was_killed_behind_its_bar_leaves_a_terminal_with_a_cursor():
    gone = schema.WorkerExitedEvent(
        pid=7, exit_code=None, signal="SIGKILL", classification=schema.ExitClassification.KILLED
    )
    out = io.StringIO()
    ConsoleRenderer(None, Console(file=out, force_terminal=True), FakeClock())(gone)
    assert out.getvalue().endswith("\x1b[?25h")
    assert "\x1b[?25h" not in show(gone, terminal=False)
