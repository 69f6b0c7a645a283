"""From signals to a recovered run: decide, act, decide again where an action fails, put it all on record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from supervisor.actions import Action, Effect, Restored, action_for
from supervisor.checkpoints import Kept
from supervisor.clock import Clock
from supervisor.diagnosis import Diagnosis
from supervisor.engine import decide, reject, restored
from supervisor.errors import ActionError, InputError, PolicyMisfit
from supervisor.events.incident_file import Bundle
from supervisor.guard.canary import Canaries, CanaryVerdict
from supervisor.guard.good_states import GoodStates
from supervisor.guard.incidents import IncidentBook
from supervisor.guard.keeper import StateKeeper
from supervisor.guard.moments import Moment, Source
from supervisor.guard.quarantine import Quarantine
from supervisor.policy import DataAfterReload, RecoveryPolicy
from supervisor.records import ActionName, Cause, CauseKind, Decision, Observation, Signal
from supervisor.training.inspection import StateCheck
from supervisor.training.modules import named_modules
from supervisor.training.optimizers import AnyOptimizer
from supervisor.training.state import Subject

__all__ = ["Recovered", "Recovery", "TrainerReset"]

TrainerReset = Callable[[str, nn.Module, torch.Generator], bool]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a recovery came to."""

    decision: Decision
    effect: Effect


class Recovery:
    """Carries out the ladder. It is the `Context` that the actions see.

    Args:
        policy: the ladder.
        subject: the training objects.
        check: finds non-finite state.
        states: the states to go back to.
        book: the record.
        quarantine: keeps bad samples out.
        canaries: tell whether a state that was put back is sound.
        keeper: where the run stands; it holds the engine's memory.
        clock: for durations.
        seed: of the guard's own draws.
        reset_module: the trainer's own way to redraw a module, if it has one.
    """

    def __init__(
        self,
        policy: RecoveryPolicy,
        subject: Subject,
        check: StateCheck,
        states: GoodStates,
        book: IncidentBook,
        quarantine: Quarantine,
        canaries: Canaries,
        keeper: StateKeeper,
        clock: Clock,
        *,
        seed: int,
        reset_module: TrainerReset | None,
    ) -> None:
        self._policy = policy
        self._subject = subject
        self._check = check
        self._states = states
        self._book = book
        self._quarantine = quarantine
        self.canaries = canaries
        self._answered: Observation | None = None
        self._keeper = keeper
        self._clock = clock
        self._seed = seed
        self._reset_module = reset_module
        # Of the update being answered, before its incident is on record.
        self._new_causes: tuple[Cause, ...] = ()
        self._actions: tuple[Action, ...] = tuple(action_for(rung) for rung in policy.ladder)
        for index, action in enumerate(self._actions):
            try:
                action.unavailable(self)
            except InputError as error:
                # A glob that matches no module: the user's mistake, to be told at the start.
                raise PolicyMisfit(("ladder", index, "modules"), str(error)) from error

    @property
    def model(self) -> nn.Module:
        """The model under supervision."""
        return self._subject.model

    @property
    def optimizer(self) -> AnyOptimizer:
        """Its optimizer."""
        return self._subject.optimizer

    @property
    def any_good_state(self) -> bool:
        """Whether there is a good state to go back to."""
        return self._states.any_good

    @property
    def data_can_go_back(self) -> bool:
        """Whether earlier batches can be had again."""
        return self._keeper.data_can_go_back

    @property
    def blamed_module(self) -> str | None:
        """The module that the last diagnosis blames: one with parameters of its own to draw afresh."""
        modules = dict(named_modules(self._subject.model))
        for cause in reversed((*self._book.causes, *self._new_causes)):
            # What the data do to a module is no fault of its weights.
            at_fault = cause.kind not in (CauseKind.BAD_INPUT, CauseKind.EXCEPTION) and cause.module
            if at_fault and next(modules[at_fault].parameters(), None) is not None:
                return at_fault
        return None

    def recover(
        self,
        signals: Sequence[Signal],
        observation: Observation,
        *,
        undone: bool,
        traceback: str | None,
        diagnosis: Diagnosis | None = None,
        can_retry: bool = False,
        bundle: Callable[[int], Bundle | None] = lambda _: None,
    ) -> Recovered:
        """Answer one flagged update, whose discarding is done where it could be.

        Args:
            signals: the findings that are not merely observed, furthest upstream first.
            observation: what they are about.
            undone: False when the update could not be discarded, so that only a reload can help.
            traceback: of the user's exception, if one raised.
            diagnosis: what looking into the update came to, None where nobody looked.
            can_retry: whether the update's batches can come again.
            bundle: writes the files to run the update again, given the incident's number; asked when one opens.
        """
        self._answered = observation
        self._new_causes = () if diagnosis is None or diagnosis.cause is None else (diagnosis.cause,)
        cause = self._new_causes[0].kind if self._new_causes else None
        blocked = self._blocked(undone)
        self._keeper.engine, decision = decide(
            self._keeper.engine, signals, self._policy, blocked=blocked, cause=cause, can_retry=can_retry
        )
        if self._book.opens(decision.incident):
            self._book.opened(decision.incident, signals, observation, bundle(decision.incident))
        if diagnosis is not None:
            self._book.diagnosed(diagnosis, observation)
            if diagnosis.cause is not None:
                self._quarantine.add(diagnosis.cause, decision.incident)
        self._book.decided(decision, signals, observation, blocked, traceback, can_retry=can_retry)
        while True:
            started = self._clock.monotonic()
            try:
                effect = self._actions[decision.rung].apply(self)
            except Exception as error:  # noqa: BLE001  (an initialiser of the user's may raise anything)
                what = str(error) if isinstance(error, ActionError) else f"{type(error).__name__}: {error}"
                failed, undone = decision, undone and not self._actions[decision.rung].undoes_update()
                blocked = self._blocked(undone)
                self._keeper.engine, decision = reject(self._keeper.engine, failed, what, self._policy, blocked=blocked)
                self._book.decided_again(failed, what, decision, observation, blocked)
                continue
            break
        cuts = self._keeper.engine.cuts
        if effect.restored is not None:
            self._keeper.engine = restored(
                self._keeper.engine, decision.rung, effect.restored.step, self._policy, cause=cause
            )
        cut = decision.action is ActionName.LOWER_LR or self._keeper.engine.cuts != cuts
        lr_scale = self._keeper.engine.lr_scale if cut else None
        self._book.applied(decision, effect, observation, lr_scale, self._clock.monotonic() - started)
        return Recovered(decision, effect)

    def restore_good_state(self, data: DataAfterReload) -> Restored:
        """Put the newest good state back; one that proves bad is passed over for the next older.

        One on which its canary batch gives another loss is passed over too, where an older one proves sound. Where none
        does, the loss depends on what no state holds, or the machine is at fault: the newest is as good as any.

        Raises:
            ActionError: none could be restored.
        """
        doubtful: list[tuple[Kept, Moment, Source]] = []
        for kept, moment, source in self._states.newest_good():
            reason = self._subject.misfit(moment.training)
            bad = () if reason else self._check.bad_in(moment.training)
            if reason or bad:
                self._states.reject(kept, source, reason or f"non-finite: {', '.join(bad)}")
                continue
            self._subject.restore(moment.training)
            verdict = self.canaries.try_on(kept.update, kept.step, self._answered)
            if verdict is CanaryVerdict.DIFFERENT or (doubtful and verdict is not CanaryVerdict.SOUND):
                doubtful.append((kept, moment, source))
                continue
            for damaged, _, held in doubtful:
                self._states.reject(damaged, held, "a batch that was healthy on it gives another loss")
            return self._settled(moment, source, data)
        if doubtful:
            _, moment, source = doubtful[0]
            return self._settled(moment, source, data)
        raise ActionError("no good state could be restored")

    def _settled(self, moment: Moment, source: Source, data: DataAfterReload) -> Restored:
        # Once more: what was tried on it has moved it.
        self._subject.restore(moment.training)
        self._states.abandon_after(moment.step)
        return Restored(moment.step, source, self._keeper.go_back(moment, data))

    def next_draw_seed(self) -> int:
        """A seed for the guard's own draws, a new one for each incident and attempt."""
        incident = self._keeper.engine.incident
        draw = (0, 0) if incident is None else (incident.id, sum(incident.attempts))
        return (self._seed * 1_000_003 + draw[0] * 1_009 + draw[1]) % 2**63

    def reset_by_trainer(self, name: str, module: nn.Module, generator: torch.Generator) -> bool:
        """Have the trainer redraw a module by its own rule; False where it has none for it."""
        return self._reset_module is not None and self._reset_module(name, module, generator)

    def _blocked(self, undone: bool) -> dict[int, str]:
        blocked = {}
        for index, action in enumerate(self._actions):
            why = action.unavailable(self)
            if why is None and not undone and not action.undoes_update():
                why = "the update reached the weights: only a reload can undo it"
            if why is not None:
                blocked[index] = why
        return blocked
