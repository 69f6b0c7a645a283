"""The exception and the user's line in the text of a traceback."""

from __future__ import annotations

import traceback

import pytest
import torch

from supervisor.report.tracebacks import last_line, raised_at


def test_the_last_line_of_a_traceback():
    assert (last_line("a\nb \n"), last_line(" \n"), last_line(None)) == ("b", None, None)


def test_the_line_is_the_users_where_the_library_raised():
    try:
        torch.zeros(2, 3) @ torch.nn.functional.linear(torch.zeros(2), torch.zeros(4, 5))
    except RuntimeError:
        text = traceback.format_exc()
    found = raised_at(text)
    assert found is not None
    assert found.startswith(f"{__file__}:")
    assert found.endswith(" in test_the_line_is_the_users_where_the_library_raised")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, None),
        ("ValueError: no", None),
        ('  File "/x/lib/python3.11/re.py", line 3, in match\nV: no', "/x/lib/python3.11/re.py:3 in match"),
        ('  File "mine.py", line 4\n    x = = 1\nSyntaxError: invalid syntax', "mine.py:4"),
    ],
)
def test_where_all_is_a_librarys_it_is_the_innermost(text: str | None, said: str | None):
    assert raised_at(text) == said
