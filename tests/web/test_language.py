"""Pages in Welsh on a Welsh node: switched by whoever reads, English where a text is missing, nothing lost in between."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import KENT, House, Quarry, opened, settings_of
from jinja2 import nodes

from bridge.web import words
from bridge.web.look import environment
from bridge.web.texts import PLURALS, catalogue, language, several

GWENT = settings_of("gwent-mash", "Gwent MASH", "W06000022", sign_in=KENT.sign_in)
_VALUES = re.compile(r"%\((\w+)\)s")


@pytest.mark.parametrize("code", PLURALS)
def test_a_translation_has_the_values_of_its_text_and_no_markup(code: str) -> None:
    assert len(catalogue(code)) > 90
    for text, forms in catalogue(code).items():
        for form in forms:
            assert set(_VALUES.findall(form)) == set(_VALUES.findall(text)), text
            assert "<" not in form


def test_numbers_take_the_form_that_the_language_has_for_them() -> None:
    token = language.set("cy")
    try:
        said = [several("%(number)s day", "%(number)s days", number) for number in (1, 2, 12)]
        assert said == ["1 diwrnod", "2 ddiwrnod", "12 diwrnod"]
        assert (
            several("%(number)s thing unheard of", "%(number)s things unheard of", 2) == "2 things unheard of"
        )
        assert words.MONTHS[10] in catalogue("cy")
    finally:
        language.reset(token)


async def test_a_welsh_node_offers_welsh_and_remembers_it(tmp_path: Path, quarry: Quarry) -> None:
    await quarry.copy(GWENT, tmp_path / "gwent")
    async with opened(tmp_path / "gwent", GWENT) as house:
        bo, ann = await house.someone("receiver", name="Bo"), await house.someone("receiver", name="Ann")
        english = await bo.get("/inbox")
        assert '<html lang="en"' in english.text and "Cymraeg" in english.words
        welsh = await bo.post("/language", {"language": "cy", "back": "/inbox"})
        assert (welsh.url, '<html lang="cy"' in welsh.text) == ("/inbox", True)
        assert "Rhybuddion a dderbyniwyd" in welsh.words and "Newydd (0)" in welsh.words
        assert "Received alerts" in (await ann.get("/inbox")).words
        assert "Allgofnodi" in (await bo.get("/help")).words
        await bo.post("/language", {"language": "xx", "back": "https://evil.example/"})
        back = await bo.post("/language", {"language": "en", "back": "//evil.example"})
        assert back.url in {"/inbox", "/"} and "Received alerts" in back.words
        stranger = house.stranger()
        await stranger.get("/sign-in")
        assert (
            "Mewngofnodi" in (await stranger.post("/language", {"language": "cy", "back": "/sign-in"})).words
        )


WEB = Path(words.__file__).parent
_SAID = {"text", "html", "titleText", "summaryText", "iconFallbackText"}
_LETTERS = re.compile(r"[A-Za-z]{2,}")
_TAG = re.compile(r"<(?:[^<>\x00]|\x00)*>")
_READ_ALOUD = re.compile(r'(?:aria-label|title|alt|placeholder)="[^"\x00]*[A-Za-z]{2}')
GIVEN_TO = {"Page": 1, "flash": 0, "error": 1}
"""Calls that show a text to people, and at which place it stands."""


def past_the_catalogue(name: str) -> Iterator[str]:
    """Words of a template that go to the reader as they stand, in no language but English."""
    made = environment()
    source = (WEB / "templates" / name).read_text("utf-8")
    inside = {"variable_begin", "block_begin"}
    kept = "".join(
        text if kind == "data" else "\x00"
        for _line, kind, text in made.lex(source)
        if kind == "data" or kind in inside
    )
    yield from _READ_ALOUD.findall(kept)
    for text in _TAG.sub(" ", kept).replace("&nbsp;", " ").split("\x00"):
        if _LETTERS.search(text) and not re.fullmatch(
            r"(govuk|bridge)-[a-z-]+", text.strip()
        ):  # those are names of classes
            yield text.strip()
    for pair in made.parse(source).find_all(nodes.Pair):
        key, value = pair.key, pair.value
        if (
            isinstance(key, nodes.Const)
            and key.value in _SAID
            and isinstance(value, nodes.Const)
            and _LETTERS.search(str(value.value))
        ):
            yield str(value.value)


def test_every_word_of_a_template_goes_through_the_catalogue() -> None:
    names = environment().list_templates(
        filter_func=lambda name: not name.startswith("govuk_frontend_jinja/")
    )
    assert len(names) > 40
    assert {name: found for name in names if (found := list(past_the_catalogue(name)))} == {}


def test_every_title_message_and_mistake_goes_through_the_catalogue() -> None:
    found = []
    for path in WEB.rglob("*.py"):
        for each in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(each, ast.Call):
                continue
            name = each.func.attr if isinstance(each.func, ast.Attribute) else getattr(each.func, "id", "")
            place = GIVEN_TO.get(name)
            if place is None or len(each.args) <= place:
                continue
            said = each.args[place]
            if isinstance(said, ast.JoinedStr) or (
                isinstance(said, ast.Constant) and isinstance(said.value, str)
            ):
                found.append(f"{path.name}:{each.lineno}")
    assert found == []


async def test_a_node_elsewhere_offers_english_alone(house: House) -> None:
    seen = await house.stranger().get("/sign-in")
    assert "Cymraeg" not in seen.text
