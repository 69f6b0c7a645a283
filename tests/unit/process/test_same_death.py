"""Deaths alike: how many there may be, of which kind, and what is told then."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from supervisor.errors import ExitCode
from supervisor.events.schema import ExitClassification as Kind
from supervisor.process.exits import WorkerEnd
from supervisor.process.heartbeat import Phase, Pulse
from supervisor.process.same_death import SameDeaths, raised_in

STARTING = Pulse(0, 0, 0.0, Phase.STARTING)
FIRST_STEP = Pulse(1, 0, 0.0, Phase.TRAINING)


def at(step: int) -> Pulse:
    return Pulse(step + 2, step, 0.1, Phase.TRAINING)


def traceback(line: int = 12, said: str = "ValueError: no such file", file: str = "/home/me/mine.py") -> str:
    return (
        "Traceback (most recent call last):\n"
        f'  File "{raised_in.__code__.co_filename}", line 70, in _work\n'
        "    return run_job(spec, stop, heartbeat)\n"
        f'  File "{file}", line {line}, in from_config\n'
        "    return cls(Config.model_validate(mapping), seed)\n"
        '  File "/venv/lib/python3.11/site-packages/pandas/io.py", line 3, in read\n'
        "    raise ValueError\n"
        f"{said}"
    )


def raised(pulse: Pulse = STARTING, **differs: Any) -> WorkerEnd:
    return WorkerEnd(1, Kind.EXCEPTION, traceback(**differs), pulse=pulse)


def killed(pulse: Pulse = STARTING, kind: Kind = Kind.KILLED) -> WorkerEnd:
    return WorkerEnd(-signal.SIGKILL, kind, None, pulse=pulse)


def codes(*ends: WorkerEnd, got_on: bool = False, resume: bool = False) -> list[ExitCode | None]:
    deaths = SameDeaths(resume)
    found = [deaths.judge(end, got_on=got_on) for end in ends]
    return [None if told is None else told[0] for told in found]


def test_a_process_that_a_row_has_ended_has_not_ended_itself() -> None:
    """It is named twice before it is left out: the program is not told to be mended after the second death."""
    end = WorkerEnd(1, Kind.EXCEPTION, pulse=FIRST_STEP, rows=(17,))
    assert codes(end, end, end) == [None, None, ExitCode.RESTARTS_SPENT]


def test_a_row_that_was_being_read_is_named_and_a_new_beginning_counts_anew() -> None:
    deaths = SameDeaths()
    end = WorkerEnd(1, Kind.EXCEPTION, pulse=at(7), rows=(17,))
    deaths.judge(end, got_on=True)
    deaths.judge(end, got_on=True)
    deaths.begin_anew()
    told = [deaths.judge(end, got_on=True) for _ in range(3)]
    assert told[:2] == [None, None]
    assert told[2] is not None
    assert told[2][1].endswith(
        "; row 17 of the data set was being read: mend the row, or leave it out by a line "
        '{"index": 17} in deadly_rows.jsonl in the run directory'
    )


class TestAnExceptionBeforeTheFirstStep:
    @pytest.mark.parametrize("pulse", [STARTING, FIRST_STEP], ids=["built", "first step"])
    def test_that_comes_again_is_a_mistake_of_the_programs(self, pulse: Pulse) -> None:
        assert codes(raised(pulse), raised(pulse, said="ValueError: no such file: /tmp/7")) == [
            None,
            ExitCode.BAD_INPUT,
        ]

    def test_it_is_told_with_the_line_at_fault_and_the_mend(self) -> None:
        deaths = SameDeaths()
        deaths.judge(raised(), got_on=False)
        told = deaths.judge(raised(), got_on=False)
        assert told is not None
        assert told[1] == (
            "/home/me/mine.py:12: ValueError: no such file: raised while the trainer was built, and once more when "
            "that was tried again: mend this line"
        )

    @pytest.mark.parametrize(
        "other",
        [raised(line=13), raised(said="OSError: no"), killed(), raised(FIRST_STEP)],
        ids=["another line", "another type", "another death", "later"],
    )
    def test_another_one_is_tried_again(self, other: WorkerEnd) -> None:
        assert codes(raised(), other, raised(), other) == [None] * 4

    def test_nor_is_one_where_a_worker_has_trained_before(self) -> None:
        """It can be built: what it needs, as a disk, is gone for a while. The budget says for how long."""
        assert codes(killed(at(7)), *[raised()] * 4) == [None] * 5

    def test_a_run_that_is_gone_on_with_may_have_changed_its_trainer_but_not_its_data(self) -> None:
        assert codes(raised(), raised(), got_on=True, resume=True)[-1] is ExitCode.BAD_INPUT
        assert codes(raised(FIRST_STEP), raised(FIRST_STEP), got_on=True, resume=True)[-1] is None

    def test_a_loaders_process_that_died_is_no_mistake_of_a_line(self) -> None:
        said = "RuntimeError: DataLoader worker (pid 7) is killed by signal: Killed."
        assert codes(*[raised(FIRST_STEP, said=said)] * 3) == [None, None, ExitCode.RESTARTS_SPENT]


def silent(code: int = 3, pulse: Pulse = STARTING) -> WorkerEnd:
    """As by `os._exit`."""
    return WorkerEnd(code, Kind.EXCEPTION, None, pulse=pulse)


CRASH = '  File "/home/me/mine.py", line 9 in from_config\nFatal Python error: Segmentation fault'


def crash(pulse: Pulse = STARTING, reason: str | None = CRASH) -> WorkerEnd:
    return WorkerEnd(-signal.SIGSEGV, Kind.KILLED, reason, pulse=pulse)


class TestAnEndWithoutAnException:
    @pytest.mark.parametrize(
        "end",
        [silent(), silent(0), silent(1, FIRST_STEP), crash(), crash(FIRST_STEP), crash(reason=None)],
        ids=["exit", "exit 0", "exit in the first step", "crash", "crash in the first step", "crash, no stack"],
    )
    def test_that_comes_again_before_the_first_step_is_a_mistake_too(self, end: WorkerEnd) -> None:
        assert codes(end, end) == [None, ExitCode.BAD_INPUT]

    @pytest.mark.parametrize("other", [silent(4), silent(3, FIRST_STEP), crash(), killed(), raised()])
    def test_another_one_is_tried_again(self, other: WorkerEnd) -> None:
        assert codes(silent(), other, silent(), other) == [None] * 4

    def test_one_that_comes_from_outside_is_none(self) -> None:
        assert codes(killed(), killed()) == [None, None]
        terminated = WorkerEnd(-signal.SIGTERM, Kind.KILLED, None, pulse=STARTING)
        assert codes(terminated, terminated) == [None, None]

    def test_nor_is_one_where_a_worker_has_trained_before(self) -> None:
        assert codes(killed(at(7)), *[silent()] * 4) == [None] * 5
        assert codes(silent(3, FIRST_STEP), silent(3, FIRST_STEP), got_on=True, resume=True)[-1] is None

    @pytest.mark.parametrize(
        ("end", "told"),
        [
            (
                silent(),
                "the process ended itself with exit code 3, without an exception, while the trainer was built, and "
                "once more when that was tried again: look for `os._exit`, or a library that ends the process, in the "
                "trainer's module, what it imports and its from_config",
            ),
            (silent(3, FIRST_STEP), "before the first step was done, and once more"),
            (
                crash(),
                "/home/me/mine.py:9: the process crashed here (SIGSEGV) while the trainer was built, and once more "
                "when that was tried again: look at the compiled code that it calls",
            ),
            (crash(reason=None), "the process crashed (SIGSEGV) while the trainer was built"),
        ],
    )
    def test_it_is_told_with_what_to_look_for(self, end: WorkerEnd, told: str) -> None:
        deaths = SameDeaths()
        deaths.judge(end, got_on=False)
        found = deaths.judge(end, got_on=False)
        assert found is not None
        assert told in found[1]

    def test_a_crash_later_on_names_its_line(self) -> None:
        deaths = SameDeaths()
        told = [deaths.judge(crash(at(40)), got_on=True) for _ in range(3)][-1]
        assert told is not None
        assert told[0] is ExitCode.RESTARTS_SPENT
        assert told[1].endswith("; last: Fatal Python error: Segmentation fault at /home/me/mine.py:9")


class TestADeath:
    @pytest.mark.parametrize(
        "end",
        [
            killed(),
            killed(FIRST_STEP),
            killed(at(40)),
            killed(at(40), Kind.OUT_OF_MEMORY),
            WorkerEnd(-signal.SIGSEGV, Kind.KILLED, None, pulse=at(40)),
            WorkerEnd(9, Kind.EXCEPTION, None, pulse=at(40)),
            raised(at(40)),
            WorkerEnd(-signal.SIGTERM, Kind.STALLED, "stood still for 9 s: raise ...", pulse=at(40)),
        ],
        ids=["start", "first step", "step", "memory", "segfault", "exit", "exception", "stall"],
    )
    def test_the_third_alike_is_the_last(self, end: WorkerEnd) -> None:
        assert codes(end, end, end) == [None, None, ExitCode.RESTARTS_SPENT]

    def test_not_where_the_run_got_on_in_between(self) -> None:
        assert codes(killed(at(40)), killed(at(40)), killed(at(41)), killed(at(40)), killed(at(40))) == [None] * 5

    def test_not_before_the_first_step_of_a_run_that_has_got_further_once(self) -> None:
        """Whoever kills workers at random does it while they start, too."""
        assert codes(*[killed()] * 5, got_on=True, resume=True) == [None] * 5
        assert codes(killed(at(3)), *[killed()] * 5) == [None] * 6

    def test_but_an_exception_there_comes_again_where_a_checkpoint_leads_back_to_its_batch(self) -> None:
        first = raised(FIRST_STEP)
        assert codes(raised(at(50)), first, first, first, got_on=True) == [None, None, None, ExitCode.RESTARTS_SPENT]
        deaths = SameDeaths(resume=True)
        told = [deaths.judge(first, got_on=True) for _ in range(3)][-1]
        assert told is not None
        assert told[1].startswith("the worker died 3 times in a row before its first step (exit code 1), with nothing")
        loader = raised(FIRST_STEP, said="RuntimeError: DataLoader worker (pid(s) 17) exited unexpectedly")
        assert codes(*[loader] * 5, got_on=True) == [None] * 5

    def test_it_is_told_how_and_where(self) -> None:
        deaths = SameDeaths()
        told = [deaths.judge(killed(at(40), Kind.OUT_OF_MEMORY), got_on=True) for _ in range(3)][-1]
        assert told is not None
        assert told[1] == (
            "the worker died 3 times in a row after step 40 (SIGKILL, by the kernel for want of memory), with nothing "
            "gained in between, so that it is not started again: mend the cause, then go on with --resume"
        )
        deaths = SameDeaths()
        told = [deaths.judge(raised(at(40)), got_on=True) for _ in range(3)][-1]
        assert told is not None
        assert told[1].endswith("; last: ValueError: no such file at /home/me/mine.py:12")


class TestATraceback:
    def test_the_line_is_the_innermost_of_the_users(self) -> None:
        found = raised_in(traceback())
        assert found is not None
        assert (found.type, found.said, found.where) == (
            "ValueError",
            "ValueError: no such file",
            "/home/me/mine.py:12",
        )

    def test_of_several_the_last_counts(self) -> None:
        both = traceback(said="KeyError: 1") + "\n\nDuring handling of the above exception:\n\n" + traceback(line=9)
        found = raised_in(both)
        assert found is not None
        assert (found.type, found.where) == ("ValueError", "/home/me/mine.py:9")

    def test_a_generator_hides_what_it_called_so_that_the_cause_tells_the_line(self) -> None:
        hidden = (
            "\n\nThe above exception was the direct cause of the following exception:\n\n"
            "Traceback (most recent call last):\n"
            f'  File "{raised_in.__code__.co_filename}", line 70, in _draw\n'
            "    batch = draw(iterator)\n"
            "RuntimeError: generator raised StopIteration"
        )
        found = raised_in(traceback(said="StopIteration") + hidden)
        assert found is not None
        assert (found.type, found.where) == ("RuntimeError", "/home/me/mine.py:12")

    def test_without_a_line_of_the_users_it_is_the_innermost_of_all(self) -> None:
        found = raised_in(traceback(file="/venv/lib/python3.11/site-packages/torch/nn.py"))
        assert found is not None
        assert found.where == "/venv/lib/python3.11/site-packages/pandas/io.py:3"

    @pytest.mark.parametrize("reason", [None, "", "stood still for 9 s"])
    def test_what_is_none_is_not_read_as_one(self, reason: str | None) -> None:
        assert raised_in(reason) is None

    def test_one_that_was_cut_off_is_read_as_far_as_it_goes(self) -> None:
        found = raised_in("Traceback (most recent call last):")
        assert found is not None
        assert found.where is None

    def test_a_syntax_error_names_its_own_line(self) -> None:
        try:
            compile("x = (", "/home/me/other.py", "exec")
        except SyntaxError as error:
            text = "Traceback (most recent call last):\n" + "".join(_lines(error))
        found = raised_in(text)
        assert found is not None
        assert (found.type, found.where) == ("SyntaxError", "/home/me/other.py:1")


def _lines(error: SyntaxError) -> list[str]:
    import traceback as tracebacks

    return tracebacks.format_exception_only(error)
