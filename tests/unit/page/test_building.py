from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.page_runs import HOSTILE, SECRETS, eventful

from supervisor.page.building import build_page
from supervisor.testing.clock import FakeClock

OWN = {"meta", "link", "script", "style"}


class Seen(HTMLParser):
    """What a browser makes of a page, as far as it matters here."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.ids: list[str] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder: Path = tmp_path_factory.mktemp("pages")
    eventful(folder / "plain")
    name = "<img src=x onerror=alert(9)> \"'"
    eventful(folder / name, HOSTILE)
    clock = FakeClock()
    return {
        "plain": build_page([str(folder / "plain")], clock),
        "hostile": build_page([str(folder / name)], clock),
        "both": build_page([str(folder / name), str(folder / "plain")], clock),
    }


def test_a_hostile_run_adds_no_element_and_no_attribute(pages: dict[str, str]) -> None:
    plain, hostile = Seen(pages["plain"]), Seen(pages["hostile"])
    assert set(hostile.tags) == set(plain.tags)
    assert [tag for tag in hostile.tags if tag in OWN] == [tag for tag in plain.tags if tag in OWN]
    assert {name for name, _ in hostile.attributes} == {name for name, _ in plain.attributes}
    assert not any(name.startswith("on") for name, _ in hostile.attributes)


def test_the_texts_of_a_hostile_run_are_there_as_text(pages: dict[str, str]) -> None:
    text = " ".join(Seen(pages["hostile"]).text)
    assert "</script><script>alert(1)</script><img src=x onerror=alert(2)>" in text
    assert "🧨" in text


@pytest.mark.parametrize("name", ["plain", "hostile", "both"])
def test_no_control_character_and_nothing_that_turns_the_writing_is_in_a_page(name: str, pages: dict[str, str]) -> None:
    body = pages[name].partition('id="pictures"')[0]
    assert (
        re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]", body) == []
    )


@pytest.mark.parametrize("name", ["plain", "hostile", "both"])
def test_a_page_refers_to_nothing_outside(name: str, pages: dict[str, str]) -> None:
    seen = Seen(pages[name])
    outward = [value for key, value in seen.attributes if key in ("src", "href", "action", "srcset", "data", "poster")]
    assert all(value.startswith(("#", "data:")) for value in outward)
    assert any(value.startswith("default-src 'none'; ") for _, value in seen.attributes)


@pytest.mark.parametrize("name", ["plain", "hostile", "both"])
def test_every_link_within_a_page_leads_somewhere_and_no_id_comes_twice(name: str, pages: dict[str, str]) -> None:
    seen = Seen(pages[name])
    assert len(seen.ids) == len(set(seen.ids))
    links = [value[1:] for key, value in seen.attributes if key == "href" and value.startswith("#")]
    named = [each for key, value in seen.attributes if key == "aria-labelledby" for each in value.split()]
    assert set(links) | set(named) <= set(seen.ids)


@pytest.mark.parametrize("name", ["plain", "hostile", "both"])
def test_no_secret_is_in_a_page(name: str, pages: dict[str, str]) -> None:
    assert not any(secret in pages[name] for secret in SECRETS)
    assert "(hidden)" in pages[name]


def test_the_charts_of_a_page_are_strict_json(pages: dict[str, str]) -> None:
    found = re.search(r'<script type="application/json" id="pictures">(.*?)</script>', pages["both"], re.DOTALL)
    assert found is not None
    places = json.loads(found[1])["charts"]
    assert places.keys() >= {"all-0", "r0-chart-0", "r1-chart-3", "r1-account"}
    assert places.keys() <= set(Seen(pages["both"]).ids)


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    eventful(tmp_path)
    assert build_page([str(tmp_path)], FakeClock()) == build_page([str(tmp_path)], FakeClock())


def test_no_text_of_a_run_makes_the_page_large(tmp_path: Path) -> None:
    eventful(tmp_path / "plain")
    eventful(tmp_path / "long", "<b>&" + "x" * 1_000_000)
    plain, long = (build_page([str(tmp_path / name)], FakeClock()) for name in ("plain", "long"))
    assert len(long) - len(plain) < 300_000
    assert "characters more)" in long
    # A cut text, and escapes on top of it.
    assert max(map(len, Seen(long[: long.index("<script")]).text)) < 13_000


def test_what_is_to_be_typed_stands_as_code(tmp_path: Path) -> None:
    eventful(tmp_path / "a", " `detect: {}` ")
    eventful(tmp_path / "b", " one ` alone ")
    advice = [re.findall(r"<li>(.*?)</li>", build_page([str(tmp_path / name)])) for name in ("a", "b")]
    assert any("<code>detect: {}</code>" in line for line in advice[0])
    assert not any("`" in line for line in advice[0])
    assert any("one ` alone" in line for line in advice[1])
