"""Pictures of a run, for what draws them."""

from __future__ import annotations

from supervisor.events.narration import Line, Tone
from supervisor.live.picture import Picture

__all__ = ["RUNNING"]

RUNNING = Picture(
    state="recovering",
    tone=Tone.RECOVERY,
    reason=None,
    about="EnergyTrainer on cpu",
    seconds=72.4,
    step=200,
    steps=400,
    seconds_left=23.4,
    loss=0.13107,
    losses=tuple((step, 1.0 - step / 400) for step in range(19, 200, 20)),
    grad_norm=0.0762,
    lr=0.000767,
    lr_scale=0.5,
    incidents=3,
    incident_steps=(30, 113),
    open_incident=3,
    rung=2,
    action="reload_checkpoint",
    cured={"skip_batch": 2},
    ladder=("skip_batch", "lower_lr", "reload_checkpoint", "halt"),
    restarts=1,
    restart_steps=(150,),
    bad_batches=2,
    speed=8.26,
    goodput=0.531,
    memory=485_000_000,
    saved=160,
    metrics={"mrr": 0.25},
    ranks=1,
    recent=(
        Line("step 30  nonfinite_gradient  → tried again", Tone.RECOVERY),
        Line("worker 7 died: killed (SIGKILL)", Tone.BAD),
        Line("step 113  nonfinite_parameter  → back to step 80", Tone.RECOVERY),
    ),
)
"""One that has been through a lot: half done, an incident open, and a worker that was started again."""
