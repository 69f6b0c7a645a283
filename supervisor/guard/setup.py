"""Whether the start of a run is wrong: measured once at its beginning, and asked once after its first updates."""

from __future__ import annotations

from dataclasses import dataclass, field

from supervisor.engine import passed_over
from supervisor.events import EventLog
from supervisor.events.schema import SignalEvent
from supervisor.experiments import CuresInForce, zero_output_losses
from supervisor.experiments.fork import Update
from supervisor.guard.curing import Curing
from supervisor.policy import Reaction, RecoveryPolicy
from supervisor.records import ActionName, Signal, SignalName
from supervisor.signals import Detectors
from supervisor.signals.initial_scale import LARGEST, initial_scale_signal, wrong_scales
from supervisor.signals.not_learning import Scales, not_learning_signal
from supervisor.training.weight_scale import owners, weight_scales
from supervisor.update import Attempt

__all__ = ["SetupCheck"]

ASKED_OVER = 8
"""Updates whose batches are looked at again, once plain numbers give a reason."""


@dataclass(slots=True)
class SetupCheck:
    """Finds out whether the set-up is wrong.

    Attributes:
        policy: whether anybody wants to know.
        curing: what would be tried; also the training objects and the executor.
        detectors: follow the losses.
        cures: keep the modules of a wrong scale for it.
        log: hears of weights of a wrong scale.
    """

    policy: RecoveryPolicy
    curing: Curing
    detectors: Detectors
    cures: CuresInForce
    log: EventLog
    _updates: list[Update] | None = field(default=None, init=False)
    _losses: list[float] = field(default_factory=list, init=False)

    def begin(self) -> None:
        """Look at the initial weights. A resumed run keeps what was found when it began."""
        model = self.curing.restoring.points.subject.model
        scales = weight_scales(model)
        signal = initial_scale_signal(scales)
        if signal is None:
            return
        wrong = wrong_scales(scales)
        modules = dict(model.named_modules())
        leaves = [name for name in owners([*wrong]) if name in modules and not [*modules[name].children()]]
        self.cures.flagged = tuple(leaves)
        self.cures.large_weights = any(scale > LARGEST for scale in wrong.values())
        # Some that begin with zeros are often meant to: a residual branch that is to say nothing at first, an adapter.
        self.cures.small_weights = len(wrong) == len(scales) and not self.cures.large_weights
        self.log.emit(SignalEvent.from_signal(signal, step=0, update=0))

    def begun(self) -> None:
        """The initial state was taken: keep it while the set-up is in question."""
        self.curing.keep_initial()

    def asked(self, attempt: Attempt) -> tuple[Signal, ...]:
        """`not_learning`, where an update that is sound itself is the one at which that is found out."""
        watch = self.detectors.not_learning
        if self._updates is None:
            if watch.over:
                # Whatever goes wrong later, the way to the start is too long.
                self.curing.let_initial_go()
            if watch.over or not watch.asks(scales=self._scales()) or not self._matters(attempt):
                return ()
            self._updates = []
        if attempt.place.replayed:
            return ()
        self._updates.append(attempt.batches)
        self._losses.append(attempt.seen.loss)
        if len(self._updates) < ASKED_OVER or self.curing.restoring.points.ledger.incident is not None:
            return ()
        updates, losses = self._updates[-ASKED_OVER:], self._losses[-ASKED_OVER:]
        self._updates, self._losses = None, []
        zeros = zero_output_losses(self.curing.restoring.points.subject, self.curing.executor, updates)
        if zeros is None:
            return ()
        signal = not_learning_signal(losses, zeros)
        # Where the weights alone speak against it, only other weights are tried.
        self.cures.redraws_only = signal is None and not watch.lost
        if signal is None and (self._scales() is not Scales.USUAL or watch.lost):
            signal = not_learning_signal(losses, zeros, hinted=True)
        if signal is None:
            return ()
        # Nothing speaks against this batch.
        attempt.reusable = tuple(range(len(attempt.batches)))
        return (signal,)

    def _scales(self) -> Scales:
        if self.cures.large_weights:
            return Scales.LARGE
        return Scales.SMALL if self.cures.small_weights else Scales.USUAL

    def _matters(self, attempt: Attempt) -> bool:
        reaction = self.policy.reactions.of(SignalName.NOT_LEARNING)
        if reaction is not Reaction.TRY_CURES:
            return reaction is not None
        if self.curing.why_not() is not None or not attempt.drawn:
            return False
        rung = self.policy.reaction_rung(SignalName.NOT_LEARNING)
        engine = self.curing.restoring.points.ledger.engine
        return (
            self.policy.ladder[rung].action is ActionName.TRY_CURES and passed_over(engine, rung, self.policy) is None
        )
