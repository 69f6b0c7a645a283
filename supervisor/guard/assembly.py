"""Builds the parts of a guard and binds them together: the only place that knows all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from supervisor.errors import InputError
from supervisor.events import EventLog
from supervisor.events.quarantine_file import QuarantinedSample
from supervisor.events.writer_lock import WriterLock
from supervisor.experiments import (
    CuresInForce,
    Examining,
    Experimenter,
    OtherBatches,
    PassBudget,
    RecentCanaries,
    Tools,
    Windows,
)
from supervisor.guard.continuation import Continuation
from supervisor.guard.cure_trials import StopRequest
from supervisor.guard.curing import Curing
from supervisor.guard.diagnosing import Diagnostician
from supervisor.guard.discarding import Discarding, Undoing
from supervisor.guard.first_batches import FirstBatches
from supervisor.guard.micro_batches import MicroBatchJudge
from supervisor.guard.recovery import Recovery, Redrawing
from supervisor.guard.setup import SetupCheck
from supervisor.guard.supervised_step import SupervisedStep
from supervisor.policy import ComputedIn, RecoveryPolicy
from supervisor.record.incident_log import IncidentLog
from supervisor.record.next_batches import NextBatches
from supervisor.record.quarantine import Quarantine
from supervisor.record.run_files import Reporting, RunFiles
from supervisor.record.run_ledger import RunLedger
from supervisor.record.run_log import RunLog, Standing
from supervisor.report.account import LiveAccount
from supervisor.signals import Detectors
from supervisor.signals.silence import SilenceWatch
from supervisor.states import (
    Canaries,
    CheckpointParts,
    Companions,
    EvaluationPlan,
    Evaluations,
    GoodStates,
    LastState,
    RestorePoints,
    Restoring,
    Resuming,
    StateTaker,
    Untouched,
)
from supervisor.training.data_position import DataPosition
from supervisor.training.headroom import HALF_TYPES, HeadroomReading
from supervisor.training.inspection import StateCheck
from supervisor.training.modules import parameter_names
from supervisor.training.optimizers import AnyOptimizer
from supervisor.training.schedule import Schedule
from supervisor.training.state import Subject
from supervisor.training.trainer import Stateful
from supervisor.update import LossFunction, NativeExecutor, UpdateSettings

__all__ = ["Parts", "TrainingObjects", "assemble"]


@dataclass(frozen=True, slots=True)
class TrainingObjects:
    """What is trained; see `Guard` for each."""

    model: nn.Module
    optimizer: AnyOptimizer
    schedule: Schedule
    scaler: GradScaler | None
    extra_state: Mapping[str, Stateful]
    data: DataPosition


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one guard, for the guard itself and for tests; each says what it does. They are no contract."""

    subject: Subject
    check: StateCheck
    executor: NativeExecutor
    data: DataPosition
    schedule: Schedule
    detectors: Detectors
    ledger: RunLedger
    states: GoodStates
    taker: StateTaker
    last_state: LastState
    step: SupervisedStep
    run_log: RunLog
    log: EventLog
    stop: StopRequest
    setup: SetupCheck
    writer: WriterLock
    evaluations: Evaluations


def assemble(
    policy: RecoveryPolicy,
    objects: TrainingObjects,
    settings: UpdateSettings,
    reporting: Reporting,
    redrawing: Redrawing,
    *,
    loss: LossFunction | None,
    replay: LossFunction | None,
    known_bad: Iterable[QuarantinedSample] = (),
    plan: EvaluationPlan | None = None,
) -> Parts:
    """Build a guard's parts, and go on from the newest checkpoint where a run is resumed.

    Raises:
        InputError: a parameter is not finite, the run directory cannot be used, or nothing in it can be resumed.
    """
    data, schedule, clock = objects.data, objects.schedule, reporting.clock
    names = parameter_names(objects.model, objects.optimizer)
    extra = {**objects.extra_state, **({"supervisor.schedule": schedule} if schedule.by_epoch else {})}
    subject = Subject(objects.model, objects.optimizer, schedule.scheduler, objects.scaler, extra, names)
    detectors = Detectors(policy)
    reading = _headroom(objects, policy, names, detectors)
    check = StateCheck(objects.model, objects.optimizer, extra, names, reading)
    bad = check.bad_parameters()
    if bad:
        raise InputError(f"model: {', '.join(bad)} not finite before the first step: mend the initial weights")
    executor = NativeExecutor(subject, check, settings, schedule=schedule, loss=loss, replay=replay)
    files = RunFiles(reporting, policy)
    log, layout = files.log, files.layout
    data.warn = log.warn
    ledger = RunLedger(policy, clock)
    incident_log = IncidentLog(log, layout)
    silence, cures, stop = SilenceWatch(schedule.stepping), CuresInForce(subject, executor), StopRequest()
    every, shown = reporting.log_every_steps, reporting.on_progress
    quarantine = Quarantine(policy.diagnose.quarantine, data, None if layout is None else layout.quarantine, log)

    account = None if layout is None else LiveAccount(layout.root)

    def standing() -> Standing:
        return Standing(cures.labels, quarantine.samples, None if account is None else account.read())

    run_log = RunLog(log, ledger, every, shown, files.observations, silence, standing)
    if account is not None:
        run_log.goodput = account.goodput
    kept = 0 if policy.experiments is None or executor.no_replay is not None else policy.experiments.canary_batches
    recent = RecentCanaries(kept)
    tools = Tools(subject, executor, data, log, clock, lambda: stop.requested)
    share = 0.0 if policy.experiments is None else policy.experiments.max_share_of_passes
    experimenter = Experimenter(policy, Examining(policy, tools, detectors, recent, PassBudget(share)))
    windows = Windows(detectors, recent)
    plan = plan or EvaluationPlan()
    states = GoodStates(policy, files.store, log, windows, plan.keep_best)
    points = RestorePoints(subject, data, ledger, states.spares, windows)
    # The names are those of the first checkpoints that were written.
    parts = CheckpointParts(
        panel=detectors, quarantine=quarantine, canaries=recent, cures=cures, experiments=experimenter
    )
    next_batches = NextBatches(None if layout is None else layout.next_batches, data, log)
    untouched = Untouched(subject, data, settings.sanitized)
    evaluations = Evaluations(plan, untouched, run_log, states.disk, lambda: stop.requested)
    taker = StateTaker(policy, check, points, states, parts, log, Companions(evaluations, next_batches))
    canaries = Canaries(policy, subject, executor, states.memory, log)
    restoring = Restoring(states, points, check, canaries)
    curing = Curing(restoring, executor, cures, stop, log, settings.accumulate)
    setup = SetupCheck(policy, curing, detectors, cures, log)
    recovery = Recovery(policy, points, restoring, redrawing, incident_log, quarantine, curing)
    continuation = Continuation(points, schedule, states, taker, incident_log, run_log, experimenter)
    others = OtherBatches(subject, executor, data, settings.accumulate) if policy.experiments is not None else None
    # Not by the count of applied steps, which a reload takes back.
    first = FirstBatches(lambda: ledger.counters.final_loss is not None, others)
    undoing = Undoing(executor, states, detectors, MicroBatchJudge(subject, executor, detectors), first)
    diagnostician = Diagnostician(policy, points, executor, detectors, layout, clock, canaries)
    discarding = Discarding(policy, undoing, diagnostician, experimenter, recovery, continuation, setup)
    step = SupervisedStep(policy, points, executor, detectors, canaries, continuation, discarding)
    if reporting.resume and files.store is not None and states.disk is not None:
        resuming = Resuming(policy, files.store, check, points, parts, states.disk, log)
        if resuming.resume(after_halt=reporting.after_halt):
            taker.write_again()
        next_batches.expect(ledger.counters.step, ledger.counters.update)
    schedule.begin_at(data.epoch)
    quarantine.begin(known_bad)
    writer = reporting.writer
    return Parts(
        subject,
        check,
        executor,
        data,
        schedule,
        detectors,
        ledger,
        states,
        taker,
        LastState(taker, clock, None if layout is None else layout.checkpoints),
        step,
        run_log,
        log,
        stop,
        setup,
        writer,
        evaluations,
    )


def _headroom(
    objects: TrainingObjects, policy: RecoveryPolicy, names: Mapping[Tensor, str], detectors: Detectors
) -> HeadroomReading | None:
    """What the state check reads for forecasts; None where the policy asks for none."""
    watch = policy.detect.headroom
    if watch is None or detectors.headroom is None:
        return None
    scaled = objects.scaler is not None and objects.scaler.is_enabled()
    by_scaler = ComputedIn.FLOAT16 if scaled else ComputedIn.FLOAT32
    computed_in = by_scaler if watch.computed_in is ComputedIn.AUTO else watch.computed_in
    return HeadroomReading(names, objects.optimizer, HALF_TYPES.get(computed_in), detectors.headroom.due)
