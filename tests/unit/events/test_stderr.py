"""A line on stderr, whatever has become of stderr."""

from __future__ import annotations

import io
import sys

import pytest

from supervisor.events.stderr import say


class Broken(io.StringIO):
    """Raises something of its own on every write."""

    def write(self, text: str) -> int:
        raise RuntimeError("no such window")


def test_a_message_is_one_line_and_is_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stderr", file)
    say("two\n  lines of é")
    assert file.buffer.getvalue().decode() == "supervisor: two lines of é\n"  # type: ignore[attr-defined]


def test_a_character_that_the_encoding_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", file)
    say("grün …")
    assert file.buffer.getvalue() == b"supervisor: gr\\xfcn ...\n"  # type: ignore[attr-defined]


def closed() -> io.StringIO:
    file = io.StringIO()
    file.close()
    return file


@pytest.mark.parametrize("stream", [None, closed(), Broken(), object()], ids=["none", "closed", "raises", "no file"])
def test_a_broken_stderr_raises_nothing(stream: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream)
    say("lost")
    monkeypatch.delattr(sys, "stderr")
    say("lost too")
