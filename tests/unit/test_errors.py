"""What each error says, and the exit codes, which are a contract."""

from __future__ import annotations

import pytest

from supervisor import errors
from supervisor.errors import (
    ExitCode,
    InputError,
    PolicyMisfit,
    SupervisorError,
    said_by,
    text_of,
    traceback_of,
    with_article,
)


def test_the_exit_codes_are_those_that_scripts_are_written_against() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "FINISHED": 0,
        "BUG": 1,
        "BAD_INPUT": 2,
        "HALTED": 3,
        "RESTARTS_SPENT": 4,
        "UNSAVED": 5,
        "INTERRUPTED": 75,
    }


def test_bad_input_is_a_line_for_each_problem() -> None:
    error = InputError("job.yaml:3: seed: no", "job.yaml:4: steps: no")
    assert error.problems == ("job.yaml:3: seed: no", "job.yaml:4: steps: no")
    assert str(error) == "job.yaml:3: seed: no\njob.yaml:4: steps: no"


def test_a_misfit_names_the_key_and_keeps_its_parts() -> None:
    error = PolicyMisfit(("ladder", 3, "modules"), "matches nothing")
    assert str(error) == "policy: ladder.3.modules: matches nothing"
    assert (error.path, error.what) == (("ladder", 3, "modules"), "matches nothing")
    assert isinstance(error, InputError)


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name[0].isupper() and name != "ExitCode"])
def test_every_error_can_be_caught_as_one_of_the_supervisors(name: str) -> None:
    assert issubclass(getattr(errors, name), SupervisorError)


class Mute(Exception):
    def __str__(self) -> str:
        return str(self.args[1])  # as one whose arguments were not those that it expects


def test_an_exception_whose_str_raises_has_a_text_all_the_same() -> None:
    assert text_of(Mute("bad row")) == "its text cannot be made, str() of it raises IndexError"
    assert said_by(Mute("bad row")).startswith("Mute: its text cannot be made")
    assert "Mute" in traceback_of(Mute("bad row"))


def test_a_text_can_be_written_to_a_file_whatever_is_in_it() -> None:
    error = OSError("no file row\udc80.png")
    assert said_by(error) == "OSError: no file row\\udc80.png"
    traceback_of(error).encode("utf-8")


def test_an_exception_without_a_text_is_said_by_its_class() -> None:
    assert said_by(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert said_by(ValueError("no such row")) == "ValueError: no such row"


class Batch:
    pass


@pytest.mark.parametrize(("value", "said"), [(None, "None"), (3, "an int"), ("x", "a str"), (Batch(), "a Batch")])
def test_the_kind_of_a_value_has_its_article(value: object, said: str) -> None:
    assert with_article(value) == said


def test_of_a_very_long_message_the_beginning_and_the_end_are_kept() -> None:
    error = ValueError("begin " + "x" * 2_000_000 + " end")
    said = said_by(error)
    assert said.startswith("ValueError: begin xxx")
    assert said.endswith("xxx end")
    assert "… (1996010 characters left out) …" in said
    assert len(said) < errors.LONGEST_MESSAGE + 100
    story = traceback_of(error)
    assert story.startswith("ValueError: begin")
    assert len(story) < errors.LONGEST_MESSAGE + 100


def test_a_long_traceback_keeps_its_last_line() -> None:
    error = ValueError("\n".join(["a line of many"] * 100_000) + "\nthe last line")
    story = traceback_of(error)
    assert len(story) < errors.LONGEST_TRACEBACK + 100
    assert story.splitlines()[-1] == "the last line"
