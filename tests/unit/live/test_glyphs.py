"""The signs that a terminal can show."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from supervisor.live.glyphs import ASCII, UNICODE, Glyphs, glyphs_for


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "no such encoding"])
def test_where_the_encoding_is_narrow_ascii_is_enough(encoding: str) -> None:
    assert glyphs_for(encoding) is ASCII
    assert glyphs_for("utf-8") is UNICODE


@pytest.mark.parametrize("glyphs", [ASCII, UNICODE])
def test_each_sign_is_one_column_wide_and_no_two_of_a_track_are_alike(glyphs: Glyphs) -> None:
    signs = [getattr(glyphs, name) for name in Glyphs.__slots__ if name != "levels"]
    assert all(cell_len(sign) == 1 for sign in [*signs, *glyphs.levels])
    assert len(glyphs.levels) == len(set(glyphs.levels)) == 8
    assert glyphs.done != glyphs.left
    assert glyphs.incident != glyphs.restart
    assert ASCII.levels.isascii()
    assert all(getattr(ASCII, name).isascii() for name in Glyphs.__slots__)
