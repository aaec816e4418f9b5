"""Chromium as people have it, driven from here; and what every page must be in it."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

INSTALL = "apt-get install -y --no-install-recommends chromium fonts-liberation"
AXE = Path(__file__).parent / "axe" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"]
WIDTHS = (1280, 320)

# Only what is wrong comes back, and axe describes nothing else: the rest of its report is megabytes a page.
LOOK = """async ([rules]) => {
  const plain = {runOnly: rules, resultTypes: ['violations'], iframes: false, selectors: false, elementRef: false, preload: false}
  const found = await axe.run(document, plain)
  const wrong = found.violations.map((each) => `${each.id}: ${each.nodes[0].html.slice(0, 160)}`)
  const links = [...document.querySelectorAll('.govuk-error-summary__list a')]
  const tops = links.map((each) => document.getElementById(each.hash.slice(1))?.getBoundingClientRect().top ?? NaN)
  if (tops.some((top, place) => !(top >= (tops[place - 1] ?? -Infinity)))) wrong.push(`summary: ${links.map((each) => each.hash)}`)
  return [wrong, document.documentElement.scrollWidth]
}"""


def browser_path() -> str:
    """Where the browser is. Without one the test is skipped with what to install, or fails where it must not be."""
    found = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    try:
        import playwright  # noqa: F401
    except ImportError:
        found = None
    if found is None and os.environ.get("CI"):
        pytest.fail(f"There is no browser here, and there must be one: {INSTALL}")
    if found is None:
        pytest.skip(f"There is no browser here. As root: {INSTALL}")
    return found


@dataclass
class Watched:
    """A browser window, and everything that it complained of or asked from elsewhere."""

    page: Any
    base: str
    complaints: list[str] = field(default_factory=list)
    width: int = 0

    def listen(self) -> None:
        def said(message: Any) -> None:
            # A page that tells mistakes is answered 422, which Chromium logs by itself.
            if message.type in {"error", "warning"} and "status of 4" not in message.text:
                self.complaints.append(message.text)

        self.page.on("console", said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda asked: None if asked.url.startswith((self.base, "data:")) else self.complaints.append(asked.url))

    async def go(self, path: str) -> int:
        answer = await self.page.goto(f"{self.base}{path}")
        return int(answer.status)

    async def click(self, name: str, role: str = "button") -> None:
        await self.page.get_by_role(role, name=name, exact=True).click()
        await self.page.wait_for_load_state()

    async def faults(self) -> list[str]:
        """What is wrong with the page: axe at both widths, sideways scrolling, an error summary that leads nowhere or in
        another order than the page, complaints so far."""
        found = []
        path = self.page.url.removeprefix(self.base)
        if not await self.page.evaluate("'axe' in window"):
            await self.page.add_init_script(path=AXE)  # sent to the browser once, not with every page that follows
            await self.page.evaluate(AXE.read_text("utf-8"))
        for width in sorted(WIDTHS, key=lambda each: each != self.width):
            if width != self.width:
                await self.page.set_viewport_size({"width": width, "height": 900})
                self.width = width
            wrong, wide = await self.page.evaluate(LOOK, [RULES])
            found += [f"{path} at {width}: {each}" for each in wrong]
            if wide > width:
                found.append(f"{path} at {width}: {wide} wide")
        found += [f"{path}: {each}" for each in self.complaints]
        return found


@asynccontextmanager
async def chromium() -> AsyncIterator[Any]:
    """The browser; without a sandbox where root runs it, and without anything that it fetches for itself."""
    path = browser_path()
    from playwright.async_api import async_playwright

    arguments = ["--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-gpu", "--renderer-process-limit=1"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


async def faults_on(browser: Any, base: str, cookies: dict[str, str], paths: Sequence[str]) -> list[str]:
    """What is wrong with these pages, looked at in two windows at a time."""
    todo = list(reversed(paths))

    async def some() -> list[str]:
        seen = await window(browser, base, cookies)
        found: list[str] = []
        while todo:
            path = todo.pop()
            status = await seen.go(path)
            found += [f"{path}: {status}"] if status >= 400 else await seen.faults()
        await seen.page.context.close()
        return found

    return [each for found in await asyncio.gather(some(), some()) for each in found]


async def window(browser: Any, base: str, cookies: dict[str, str] | None = None, **how: Any) -> Watched:
    """A window of a person of their own, signed in by `cookies`."""
    context = await browser.new_context(**how)
    if cookies:
        await context.add_cookies([{"name": n, "value": v, "url": base} for n, v in cookies.items()])
    watched = Watched(await context.new_page(), base)
    watched.listen()
    return watched
