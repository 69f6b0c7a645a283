from __future__ import annotations

import math
import struct
from base64 import b64decode

import pytest
from support.page_runs import HOSTILE

from supervisor.page.labels import beyond, drawable, hover, label, number, packed


def test_nothing_in_a_label_is_read_as_html_a_template_or_a_control() -> None:
    told = label(HOSTILE, longest=1000)
    assert not set("<>{%$\n\x1b\u202e\u2028") & set(told)
    assert "&lt;script&gt;alert(1)" in told
    assert "&amp;amp;" in told


def test_a_long_text_is_cut() -> None:
    assert label("x" * 500, longest=10) == "x" * 10 + "… (490 characters more)"


def test_lines_under_each_other() -> None:
    assert hover(["a<b", "c\nd"]) == "a&lt;b<br>c d"


def test_numbers() -> None:
    assert [number(each) for each in (None, 0.123456, math.nan)] == ["–", "0.1235", "nan"]


def test_packed_numbers_come_back() -> None:
    told = packed([1.5, math.nan, -2.0])
    assert told["dtype"] == "f4"
    first, gap, last = struct.unpack("<3f", b64decode(told["bdata"]))
    assert (first, math.isnan(gap), last) == (1.5, True, -2.0)


def test_a_number_that_32_bits_would_lose_has_64() -> None:
    assert packed([1e39])["dtype"] == "f8"
    assert packed([1e-40])["dtype"] == "f8"
    assert packed([2**40], "i")["dtype"] == "f8"
    assert packed([2**20], "i")["dtype"] == "i4"


@pytest.mark.parametrize(
    ("value", "drawn"),
    [(0.0, 0.0), (-2.0, -2.0), (1e308, 1e100), (-1e308, -1e100), (5e-324, 1e-100), (-1e-320, -1e-100)],
)
def test_a_value_that_no_axis_can_hold_is_drawn_at_its_end(value: float, drawn: float) -> None:
    assert drawable(value) == drawn
    assert beyond([1.0, math.nan, value]) is (value != drawn)
    assert struct.unpack("<d", b64decode(packed([value, 1e39])["bdata"])[:8]) == (drawn,)


def test_what_is_not_finite_stays_so() -> None:
    assert (math.isnan(drawable(math.nan)), drawable(-math.inf), beyond([math.inf, math.nan])) == (
        True,
        -math.inf,
        False,
    )
