"""The rungs: their settings, their limits, and what none of them can be."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from supervisor.errors import InputError
from supervisor.policy import (
    DataAfterReload,
    LowerLrRung,
    ReinitializeRung,
    ReloadCheckpointRung,
    SkipBatchRung,
    UseLimit,
    load_policy,
)
from supervisor.policy.ladder import DEFAULT_LADDER, AnyRung, HaltRung, Rung
from supervisor.records import ActionName

ANY_RUNG: TypeAdapter[AnyRung] = TypeAdapter(Rung)


def test_the_default_ladder_has_every_action_once_and_halt_last() -> None:
    assert [rung.action for rung in DEFAULT_LADDER] == [
        ActionName.SKIP_BATCH,
        ActionName.LOWER_LR,
        ActionName.RELOAD_CHECKPOINT,
        ActionName.TRY_CURES,
        ActionName.REINITIALIZE,
        ActionName.HALT,
    ]


@pytest.mark.parametrize("rung", DEFAULT_LADDER, ids=lambda rung: rung.action)
def test_an_action_alone_is_a_rung_with_its_defaults(rung: AnyRung) -> None:
    assert ANY_RUNG.validate_python({"action": rung.action.value}) == rung


@pytest.mark.parametrize("kind", [SkipBatchRung, LowerLrRung])
def test_a_cheap_rung_may_be_without_a_limit(kind: type[SkipBatchRung | LowerLrRung]) -> None:
    assert kind(limit=None).limit is None


@pytest.mark.parametrize("kind", [ReloadCheckpointRung, ReinitializeRung])
def test_a_rung_that_goes_back_may_not(kind: type[ReloadCheckpointRung | ReinitializeRung]) -> None:
    with pytest.raises(ValidationError):
        kind(limit=None)  # type: ignore[arg-type]


def test_halt_has_no_settings() -> None:
    with pytest.raises(ValidationError):
        HaltRung(attempts=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("modules", [[], [""], [5], 5, None, ["auto", "x"], {}])
def test_what_names_no_modules_is_refused(modules: object) -> None:
    with pytest.raises(ValidationError, match="names no modules"):
        ReinitializeRung(modules=modules)  # type: ignore[arg-type]


def test_a_partial_limit_keeps_the_rungs_own_window() -> None:
    policy = load_policy({"ladder": [{"action": "lower_lr", "limit": {"uses": 2}}]})
    assert policy.ladder[0] == LowerLrRung(limit=UseLimit(uses=2, window_updates=2000))


@pytest.mark.parametrize("action", ["reload_checkpoint", "reinitialize"])
def test_a_rung_that_goes_back_needs_a_limit(action: str) -> None:
    with pytest.raises(InputError, match=r"ladder\.0\.limit: is empty"):
        load_policy({"ladder": [{"action": action, "limit": None}]})


def test_rungs_are_read_with_their_settings() -> None:
    ladder = [
        {"action": "reload_checkpoint", "data": "replay"},
        {"action": "reinitialize", "modules": "encoder.*", "method": "xavier"},
        {"action": "reinitialize", "modules": ["auto"]},
    ]
    reload, by_glob, automatic, _ = load_policy({"ladder": ladder}).ladder
    assert isinstance(reload, ReloadCheckpointRung)
    assert reload.data is DataAfterReload.REPLAY
    assert isinstance(by_glob, ReinitializeRung)
    assert by_glob.modules == ("encoder.*",)
    assert isinstance(automatic, ReinitializeRung)
    assert automatic.modules == "auto"


def test_models_may_stand_in_a_mapping() -> None:
    ladder = (SkipBatchRung(attempts=9),)
    assert load_policy({"ladder": ladder}).ladder[0] == ladder[0]
