"""Pages in Welsh on a Welsh node: switched by whoever reads, English where a text is missing, nothing lost in between."""

import re
from pathlib import Path

import pytest
from house import KENT, House, Quarry, opened, settings_of

from bridge.web import words
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


async def test_a_node_elsewhere_offers_english_alone(house: House) -> None:
    seen = await house.stranger().get("/sign-in")
    assert "Cymraeg" not in seen.text
