"""Open a page of `supervisor report` in headless Chromium, and see that it is as it should be.

python scripts/check_page.py PAGE.html [--pictures FOLDER] [--axe axe.min.js]

It is opened in the light theme, in the dark one, on a phone and for printing. Wrong is: a message on the console, a
request, a page wider than a phone, a zoom that the charts of a run do not follow, an incident that the keyboard does
not reach and open, a text of the page that runs as a script, a finding of axe-core, a first paint after 2 s. Exit 1
where anything is wrong.

It needs the Python package playwright and a Chromium (`--chromium`, else /usr/bin/chromium); axe-core is the file
`axe.min.js` of the npm package `axe-core`, and is left out where it is not given.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
]
VIEWS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "device_scale_factor": 2},
    "narrow": {"viewport": {"width": 360, "height": 780}, "color_scheme": "dark", "has_touch": True},
}
FIRST_PAINT_MS = 2000
DRAWN = "document.documentElement.dataset.drawn"
MOST_INCIDENTS = 40
"""How many incidents are walked to by the keyboard."""


def main(arguments: list[str] | None = None) -> int:
    """Check a page, and print what is wrong with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--pictures", type=Path, help="a folder for screenshots")
    parser.add_argument("--axe", type=Path, help="axe.min.js")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args(arguments)
    from playwright.sync_api import sync_playwright

    problems: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=FLAGS)
        for name, view in VIEWS.items():
            found = Opened(browser, options.page, view)
            problems += [f"{name}: {each}" for each in found.check(options.axe)]
            print(f"{name:<8}first paint {found.first_paint:.0f} ms, all charts drawn {found.drawn:.0f} ms")  # noqa: T201
            if options.pictures is not None:
                options.pictures.mkdir(parents=True, exist_ok=True)
                found.picture(options.pictures / f"{name}.png")
            if name == "light" and options.pictures is not None:
                found.print_to(options.pictures / "print.pdf")
            found.close()
        browser.close()
    for problem in problems:
        print(problem)  # noqa: T201
    return 1 if problems else 0


class Opened:
    """A page in one view.

    Args:
        browser: of playwright.
        path: the page.
        view: what its context is made with.
    """

    def __init__(self, browser: Any, path: Path, view: dict[str, Any]) -> None:
        self._said: list[str] = []
        # A page that is still scrolling has its charts elsewhere.
        self._context = browser.new_context(reduced_motion="reduce", **view)
        self._page = self._context.new_page()
        self._page.set_default_timeout(20_000)
        own = path.resolve().as_uri()
        self._page.on("console", lambda message: self._said.append(f"console: {message.type}: {message.text[:300]}"))
        self._page.on("pageerror", lambda error: self._said.append(f"error: {str(error)[:300]}"))
        self._page.on("dialog", lambda dialog: (self._said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self._page.on(
            "request",
            lambda request: (
                None
                if request.url.split("#")[0] == own or request.url.startswith(("data:", "blob:"))
                else self._said.append(f"request: {request.url[:200]}")
            ),
        )
        self._page.goto(own)
        self._page.wait_for_function(DRAWN, timeout=30_000)
        self.drawn = float(self._page.evaluate(DRAWN))
        self.first_paint = float(
            self._page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN")
        )

    def check(self, axe: Path | None) -> Iterator[str]:
        """What is wrong with it."""
        if not self.first_paint < FIRST_PAINT_MS:
            yield f"first paint after {self.first_paint:.0f} ms"
        yield from self._width("")
        yield from self._walk()
        yield from self._zoom()
        # What is closed is looked at too.
        self._page.evaluate(
            "document.querySelectorAll('details:not([open])').forEach((it) => { it.open = true; it.dataset.was = 1; })"
        )
        yield from self._width(", all of it open,")
        if axe is not None:
            yield from self._axe(axe)
        self._page.evaluate("document.querySelectorAll('details[data-was]').forEach((it) => { it.open = false; })")
        yield from self._said

    def _width(self, how: str) -> Iterator[str]:
        wide = self._page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if wide > 0:
            yield f"the page{how} is {wide} px wider than the window"

    def _walk(self) -> Iterator[str]:
        """From incident to incident by Tab, each opened by Enter."""
        summaries = ".incidents .more summary"
        count = self._page.locator(summaries).count()
        if not count:
            return
        self._page.evaluate("document.querySelector('button.all').focus()")
        for index in range(min(count, MOST_INCIDENTS)):
            for _ in range(100):
                self._page.keyboard.press("Tab")
                if self._page.evaluate(f"document.activeElement === document.querySelectorAll('{summaries}')[{index}]"):
                    break
            else:
                yield f"Tab does not reach incident {index + 1}"
                return
            self._page.keyboard.press("Enter")
            if not self._page.evaluate("document.activeElement.parentElement.open"):
                yield f"Enter does not open incident {index + 1}"
            self._page.keyboard.press("Enter")
            if self._page.evaluate("document.activeElement.parentElement.open"):
                yield f"Enter does not close incident {index + 1}"

    def _zoom(self) -> Iterator[str]:
        """Drags across the first chart: all charts of the run follow, keep it in another theme, and come back."""
        first = ".plot[id$='-chart-0']"
        if self._page.evaluate("matchMedia('(pointer: coarse)').matches"):
            # A finger scrolls the page.
            return
        if not self._page.locator(f"{first} .nsewdrag").count():
            return
        ranges = f"""(() => {{
            const group = document.querySelector("{first}").id.replace("chart-0", "chart-");
            return [...document.querySelectorAll(`.plot[id^="${{group}}"]`)].map((each) => each.layout.xaxis.range);
        }})()"""
        whole = self._page.evaluate(ranges)
        self._page.evaluate(
            f'scrollTo({{top: scrollY + document.querySelector("{first}").getBoundingClientRect().top - 120,'
            " behavior: 'instant'})"
        )
        self._page.wait_for_timeout(100)
        box = self._page.locator(f"{first} .nsewdrag").first.bounding_box()
        self._page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 40)
        self._page.mouse.down()
        self._page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 42, steps=4)
        self._page.mouse.up()
        self._until(f"!{_is(ranges, whole)}")
        zoomed = self._page.evaluate(ranges)
        if zoomed == whole or any(each != zoomed[0] for each in zoomed):
            yield f"a drag across the first chart does not zoom all charts of its run alike: {zoomed}"
        dark = self._page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        self._page.emulate_media(color_scheme="light" if dark else "dark")
        self._page.wait_for_timeout(300)
        if self._page.evaluate(ranges) != zoomed:
            yield "another theme loses what was zoomed to"
        self._page.emulate_media(color_scheme="dark" if dark else "light")
        # The button that shows all of the same run.
        self._page.evaluate(
            f"""(() => {{
                const group = document.querySelector("{first}").id.replace("chart-0", "");
                document.querySelector(`form[data-charts="${{group}}"] button[type=reset]`).focus();
            }})()"""
        )
        self._page.keyboard.press("Enter")
        if not self._until(_is(ranges, whole)):
            yield "`Show all` does not show all"

    def _until(self, condition: str) -> bool:
        """Whether a condition holds within some seconds."""
        from playwright.sync_api import TimeoutError as NotWithin

        try:
            self._page.wait_for_function(condition, timeout=5000)
        except NotWithin:
            return False
        return True

    def _axe(self, axe: Path) -> Iterator[str]:
        self._page.evaluate(axe.read_text(encoding="utf-8"))
        found = self._page.evaluate("axe.run().then((result) => result.violations)")
        for each in found:
            if each["impact"] in ("serious", "critical", "moderate"):
                nodes = "; ".join(node["html"][:120] for node in each["nodes"][:3])
                yield f"axe: {each['impact']}: {each['id']}: {each['help']} ({len(each['nodes'])}): {nodes}"

    def picture(self, path: Path) -> None:
        """A screenshot of all of it, the first incident open."""
        self._page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        self._page.evaluate("const first = document.querySelector('.incidents details'); if (first) first.open = true")
        self._page.screenshot(path=path, full_page=True)

    def print_to(self, path: Path) -> None:
        """As it is printed."""
        self._page.pdf(
            path=path,
            format="A4",
            margin={"top": "15mm", "bottom": "15mm", "left": "12mm", "right": "12mm"},
            print_background=True,
        )

    def close(self) -> None:
        """Close it."""
        self._context.close()


def _is(expression: str, value: Any) -> str:
    """The expression that tells whether another one has a value."""
    return f"(JSON.stringify({expression}) === {json.dumps(json.dumps(value, separators=(',', ':')))})"


if __name__ == "__main__":
    sys.exit(main())
