"""The decisions: each has its page, is in the index, and names files and vectors that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "adr"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")


def test_every_page_is_in_the_index_in_order() -> None:
    index = re.findall(r"^\| \[(\d{4})\]\((\S+)\)", (FOLDER / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for _, name in index] == [page.name for page in PAGES]
    assert all(name.startswith(f"{number}-") for number, name in index)
    assert len({number for number, _ in index}) == len(index)


@pytest.mark.parametrize("page", PAGES, ids=[page.stem for page in PAGES])
def test_a_page_says_why_what_follows_and_what_was_refused_and_names_what_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.name[:4]} ")
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert [each for each in headings if each != "What follows"] == ["Why it came up", "Decision", "Refused"]
    assert len(re.findall(r"^- \*\*", text.split("## Refused")[1], re.MULTILINE)) >= 2
    assert len(text.splitlines()) <= 60
    for name in re.findall(r"`(bridge/[a-z_/]+\.py)`", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`((?:envelope|receipts|descriptor|hello)/[a-z0-9-]+)`", text):
        assert (ROOT / "tests" / "vectors" / f"{name}.json").exists(), name
