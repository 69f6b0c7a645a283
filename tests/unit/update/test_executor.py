"""The port through which an update is carried out: what there is fits it."""

from __future__ import annotations

import inspect

import pytest
from support.parts import Parts, unlike

from supervisor.diagnosis.probe import Probe
from supervisor.diagnosis.trace import Trace
from supervisor.update import Executor


def test_the_native_executor_is_one() -> None:
    assert unlike(Executor, Parts.of().executor) == []


@pytest.mark.parametrize("kind", [Probe, Trace])
def test_what_watches_a_replay_takes_the_loss_function_and_gives_one(kind: type[Probe] | type[Trace]) -> None:
    watch = kind(Parts.of().model).loss
    assert len(inspect.signature(watch).parameters) == 1
    assert callable(watch(lambda batch: batch))


def test_a_class_that_lacks_a_method_or_takes_other_parameters_is_none() -> None:
    """The check itself can fail."""
    executor = Parts.of().executor

    class Other:
        no_replay = None
        begin = type(executor).begin

        def undo(self, attempt: object, how: str) -> None: ...

    missing = unlike(Executor, Other())
    assert {"undo", "replay"} <= set(missing)
    assert not {"begin", "no_replay"} & set(missing)
