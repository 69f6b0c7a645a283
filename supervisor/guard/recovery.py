"""From signals to a recovered run: decide, act, decide again where an action fails, put it all on record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from supervisor.actions import Action, Effect, Restored, action_for
from supervisor.actions.redraw import redraw_modules_
from supervisor.diagnosis import Diagnosis
from supervisor.engine import no_further
from supervisor.errors import ActionError, InputError, PolicyMisfit, said_by, text_of
from supervisor.evidence import Blame
from supervisor.guard.blaming import blamed_rows
from supervisor.guard.cure_trials import CureRequest
from supervisor.guard.curing import Curing
from supervisor.guard.diagnosing import Diagnostician
from supervisor.policy import SETUP_SIGNALS, DataAfterReload, RecoveryPolicy, RedrawMethod, TryCuresRung
from supervisor.record.incident_log import IncidentLog
from supervisor.record.quarantine import Quarantine
from supervisor.records import ActionName, Cause, CauseKind, Decision, Signal
from supervisor.states import RestorePoints, Restoring
from supervisor.training.modules import named_modules
from supervisor.training.optimizers import AnyOptimizer
from supervisor.update import Attempt

__all__ = ["ActionContext", "Recovered", "Recovery", "Redrawing", "TrainerReset"]

_NOT_THE_WEIGHTS = frozenset({CauseKind.BAD_INPUT, CauseKind.EXCEPTION, CauseKind.HIDDEN_STATE})

TrainerReset = Callable[[str, nn.Module, torch.Generator], bool]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery came to."""

    decision: Decision
    effect: Effect


@dataclass(frozen=True, slots=True)
class Redrawing:
    """How modules are redrawn: the seed of the guard's own draws, and the trainer's own way if it has one."""

    seed: int = 0
    by_trainer: TrainerReset | None = None


@dataclass(frozen=True, slots=True)
class ActionContext:
    """What the actions see of the guard while one update is answered.

    Attributes:
        points: the training objects, the data and the ledger.
        restoring: goes back to a good state.
        redrawing: how modules are redrawn.
        attempt: the update that is answered, None where none is yet.
        causes: what was found out in its incident, the newest last.
        curing: tries cures of the set-up.
        asked: whether a finding about the set-up alone is answered.
    """

    points: RestorePoints
    restoring: Restoring
    redrawing: Redrawing
    attempt: Attempt | None = None
    causes: Sequence[Cause] = ()
    curing: Curing | None = None
    asked: bool = False

    @property
    def model(self) -> nn.Module:
        """The model under supervision."""
        return self.points.subject.model

    @property
    def optimizer(self) -> AnyOptimizer:
        """Its optimizer."""
        return self.points.subject.optimizer

    @property
    def any_good_state(self) -> bool:
        """Whether there is a good state to go back to."""
        return self.restoring.any_good

    @property
    def data_can_go_back(self) -> bool:
        """Whether earlier batches can be had again."""
        return self.points.data.can_go_back

    @property
    def blamed_module(self) -> str | None:
        """The module that the last diagnosis blames: one with parameters to draw afresh, and to train afterwards."""
        modules = dict(named_modules(self.model))
        for cause in reversed(self.causes):
            # What the data or a plain attribute do to a module is no fault of its weights.
            at_fault = cause.kind not in _NOT_THE_WEIGHTS and cause.module
            if at_fault and any(parameter.requires_grad for parameter in modules[at_fault].parameters()):
                return at_fault
        return None

    def restore_good_state(self, data: DataAfterReload) -> Restored:
        """Put the newest good state back.

        Raises:
            ActionError: none could be restored.
        """
        return self.restoring.restore(data, None if self.attempt is None else self.attempt.seen)

    def no_cures(self, rung: TryCuresRung) -> str | None:
        """Why no cures of the set-up can be tried, None where they can."""
        return "there is nothing to try them with" if self.curing is None else self.curing.why_not()

    def try_cures(self, rung: TryCuresRung) -> Effect:
        """Try them on forks, and put the one in force that helps.

        Raises:
            ActionError: none does, or they could not be tried.
        """
        if self.curing is None or self.attempt is None:
            raise ActionError("there is nothing to try cures with")
        seed, optimizer = self.next_draw_seed(), self.optimizer

        def redraw(modules: Mapping[str, nn.Module]) -> None:
            redraw_modules_(modules, optimizer, RedrawMethod.ORTHOGONAL, seed, self.reset_by_trainer)

        return self.curing.try_cures(CureRequest(rung, self.attempt, redraw, self.asked))

    def next_draw_seed(self) -> int:
        """A seed for the guard's own draws, a new one for each incident and attempt."""
        incident = self.points.ledger.engine.incident
        draw = (0, 0) if incident is None else (incident.id, sum(incident.attempts))
        return (self.redrawing.seed * 1_000_003 + draw[0] * 1_009 + draw[1]) % 2**63

    def reset_by_trainer(self, name: str, module: nn.Module, generator: torch.Generator) -> bool:
        """Have the trainer redraw a module by its own rule; False where it has none for it."""
        by_trainer = self.redrawing.by_trainer
        return by_trainer is not None and by_trainer(name, module, generator)


@dataclass(slots=True)
class Recovery:
    """Carries out the ladder.

    Attributes:
        policy: the ladder.
        points: the training objects, the data and the ledger.
        restoring: goes back to a good state.
        redrawing: how modules are redrawn.
        record: the incident log.
        quarantine: keeps bad samples out.
        curing: tries cures of the set-up.
    """

    policy: RecoveryPolicy
    points: RestorePoints
    restoring: Restoring
    redrawing: Redrawing
    record: IncidentLog
    quarantine: Quarantine
    curing: Curing | None = None
    _actions: tuple[Action, ...] = field(init=False)

    def __post_init__(self) -> None:
        self._actions = tuple(action_for(rung) for rung in self.policy.ladder)
        for index, action in enumerate(self._actions):
            try:
                action.unavailable(self._context())
            except InputError as error:
                # A glob that matches no module: the user's mistake, to be told at the start.
                raise PolicyMisfit(("ladder", index, "modules"), str(error)) from error

    def answer(
        self,
        attempt: Attempt,
        signals: Sequence[Signal],
        diagnosis: Diagnosis | None,
        diagnostician: Diagnostician,
    ) -> Recovered:
        """Answer one flagged update, whose discarding is done where it could be.

        Args:
            attempt: the update.
            signals: the findings that are not merely observed, furthest upstream first.
            diagnosis: what looking into the update came to, None where nobody looked.
            diagnostician: writes the files to run the update again, where an incident opens.
        """
        ledger, record, seen = self.points.ledger, self.record, attempt.seen
        cause = None if diagnosis is None else diagnosis.cause
        kind = None if cause is None else cause.kind
        earlier = () if ledger.incident is None else ledger.incident.causes
        asked = all(signal.name in SETUP_SIGNALS for signal in signals)
        context = self._context(attempt, earlier if cause is None else (*earlier, cause), asked=asked)
        blocked = self._blocked(context, attempt.undone)
        newest = self.restoring.newest_good_step
        blocked = {**no_further(ledger.engine, self.policy, newest, blocked=blocked, cause=kind), **blocked}
        can_retry = attempt.undone and attempt.drawn
        decision, opens = ledger.decide(attempt, signals, blocked, cause=kind, can_retry=can_retry)
        if opens:
            ledger.bundled(diagnostician.write_bundle(decision.incident, attempt))
            record.opened(decision.incident, signals, seen)
        if diagnosis is not None:
            ledger.diagnosed(diagnosis)
            record.diagnosed(decision.incident, diagnosis, seen)
            if cause is not None:
                good_state = self.restoring.newest_good_step == seen.step
                rows, presumed = blamed_rows(attempt, cause, good_state=good_state)
                self.quarantine.add(rows, decision.incident, presumed=presumed)
        record.decided(decision, seen, blocked, can_retry=can_retry, evidence=attempt.evidence)
        undone = attempt.undone
        while True:
            started = ledger.now()
            try:
                # A sound state is left where it is, at a halt too.
                effect = Effect() if decision.in_place else self._actions[decision.rung].apply(context)
                break
            except Exception as error:  # noqa: BLE001  (an initialiser of the user's may raise anything)
                what = text_of(error) if isinstance(error, ActionError) else said_by(error)
                undone = undone and not self._actions[decision.rung].undoes_update()
                blocked = self._blocked(context, undone)
                record.failed(decision, what, seen)
                decision = ledger.reject(decision, what, blocked)
                record.decided(decision, seen, blocked)
        cuts = ledger.engine.cuts
        if effect.restored is not None:
            ledger.went_back(decision.rung, effect.restored.step, kind)
        cut = decision.action is ActionName.LOWER_LR or ledger.engine.cuts != cuts
        if _explains(decision.action, effect, attempt):
            self.quarantine.release(decision.incident, seen)
        record.applied(decision, effect, seen, ledger.lr_scale if cut else None, ledger.now() - started)
        record.write(ledger.incident)
        if effect.closes:
            record.closed(*ledger.dismissed(decision, seen), seen, ledger.lr_scale)
        return Recovered(decision, effect)

    def _context(
        self, attempt: Attempt | None = None, causes: Sequence[Cause] = (), *, asked: bool = False
    ) -> ActionContext:
        return ActionContext(self.points, self.restoring, self.redrawing, attempt, causes, self.curing, asked)

    def _blocked(self, context: ActionContext, undone: bool) -> dict[int, str]:
        blocked = {}
        for index, action in enumerate(self._actions):
            why = action.unavailable(context)
            if why is None and not undone and not action.undoes_update():
                why = "the update reached the weights: only a reload can undo it"
            if why is not None:
                blocked[index] = why
        return blocked


def _explains(action: ActionName, effect: Effect, attempt: Attempt) -> bool:
    """Whether what was done says that the state, or the set-up, was at fault all along."""
    if effect.restored is None:
        return False
    if action is ActionName.TRY_CURES:
        return True
    evidence = attempt.evidence
    return action is ActionName.RELOAD_CHECKPOINT and (evidence is None or evidence.blame is Blame.STATE)
