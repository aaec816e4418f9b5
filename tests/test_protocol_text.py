"""docs/protocol.md is held against the code: its examples, limits, numbers and tables."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from descriptors import descriptor

from bridge import wire
from bridge.crypto import purposes
from bridge.crypto.envelope import BUCKETS, OVERHEAD, SUITES
from bridge.crypto.keys import PUBLIC_LENGTHS
from bridge.crypto.signed import pae
from bridge.envelopes import MessageType
from bridge.errors import CODES
from bridge.partners import GRACE, MAX_LIFETIME, Descriptor, PublishedKey, State
from bridge.receipts import MAX_STATEMENTS, REFUSALS, STATUSES, Statement

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
SECTIONS = {int(part.split(".", 1)[0]): part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]}


def flat(number: int) -> str:
    return " ".join(SECTIONS[number].split())


def tables(number: int) -> list[list[list[str]]]:
    """The tables of a section, each as rows of cells without their header."""
    found: list[list[list[str]]] = []
    inside = False
    for line in SECTIONS[number].splitlines():
        if line.startswith("|"):
            if not inside:
                found.append([])
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        inside = line.startswith("|")
    return [rows[2:] for rows in found]


def table(number: int, first: str) -> dict[str, list[str]]:
    """The one table of a section whose first cell is `first`, by first cell."""
    (rows,) = (rows for rows in tables(number) if rows[0][0] == first)
    return {row[0].strip("`"): row[1:] for row in rows}


def example(kind: str) -> bytes:
    (text,) = re.findall(rf"^```json {kind}\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL)
    return text.encode()


def test_there_are_twelve_sections_in_order() -> None:
    assert list(SECTIONS) == list(range(1, 13))


def test_the_table_of_statuses_is_that_of_the_code() -> None:
    code = {row.code: [row.label, row.said_by, row.meaning, set(row.after)] for row in STATUSES.values()}
    text = {
        status: [label, who, means, set() if after == "-" else set(after.split(", "))]
        for status, (label, who, means, after) in table(6, "`queued`").items()
    }
    assert text == code
    assert list(text) == list(code)


def test_the_table_of_refusals_is_that_of_the_code() -> None:
    assert table(6, "`not-for-me`") == {
        row.code: [row.sentence, row.who, row.next_step] for row in REFUSALS.values()
    }


def test_the_table_of_codes_is_that_of_the_code() -> None:
    assert table(12, "`not-for-me`") == {
        code: [row.meaning, str(row.http_status), str(row.exit_status)] for code, row in CODES.items()
    }


def test_every_code_named_in_a_check_is_a_code() -> None:
    for number in (3, 5):
        for rows in tables(number):
            for row in rows:
                if row[0].isdigit():
                    assert set(re.findall(r"`([a-z]+(?:-[a-z]+)*)`", row[-1])) <= CODES.keys()


def test_the_limits_are_those_of_the_code() -> None:
    assert {kind: int(most) for kind, (most,) in table(1, "header").items()} == {
        "header": wire.HEADER_LIMIT,
        "descriptor": wire.DESCRIPTOR_LIMIT,
        "receipts document": wire.RECEIPTS_LIMIT,
        "hello": wire.HELLO_LIMIT,
        "signed document": wire.SIGNED_LIMIT,
        "invite file": wire.INVITE_LIMIT,
        "carrier": wire.CARRIER_LIMIT,
        "answer": wire.ANSWER_LIMIT,
    }


@pytest.mark.parametrize(
    ("number", "phrase"),
    [
        (1, f"more than {wire.MAX_STRING:,} characters"),
        (1, f"more than {wire.MAX_DEPTH} levels"),
        (3, f"at most {MAX_LIFETIME.days} days after `issued`"),
        (3, f"stale (all works, with a warning) for {GRACE.days} days more"),
        (4, f"`bucket` x 1024 + {OVERHEAD} bytes"),
        (4, f"1 to {wire.MAX_ENVELOPES}, the body of one POST"),
        (4, f"1 to {wire.MAX_MESSAGES}, ids all different"),
        (4, f"at most {wire.DELIVERY_WINDOW.days} days after `created`"),
        (4, "type = " + " | ".join(MessageType)),
        (4, f"bucket: {BUCKETS[0]}, {BUCKETS[1]}, {BUCKETS[2]} or {BUCKETS[3]}"),
        (6, f"1 to {MAX_STATEMENTS} statements"),
        (3, "A partner is " + ", ".join(f"`{s}`" for s in list(State)[:-1]) + f" or `{list(State)[-1]}`"),
    ],
)
def test_a_number_in_the_text_is_that_of_the_code(number: int, phrase: str) -> None:
    assert phrase in flat(number)


def test_wire_and_crypto_agree_on_sizes() -> None:
    assert wire.BUCKETS == BUCKETS
    assert wire.SEAL_OVERHEAD == OVERHEAD


def test_the_keys_and_suites_are_those_of_the_code() -> None:
    lengths: dict[str, int] = {}
    for _, algs, publics, _ in table(2, "identity").values():
        names = re.findall(r"`([^`]+)`", algs)
        lengths |= dict(zip(names, (int(n) for n in re.findall(r"(?<!-)\b\d+\b", publics)), strict=False))
    assert lengths == PUBLIC_LENGTHS
    assert {
        int(suite): tuple(re.findall(r"`([^`]+)`", algs)) for suite, (algs,) in table(4, "1").items()
    } == SUITES


def test_the_purposes_are_those_of_the_code() -> None:
    listed = re.search(r"Purposes that travel: `bridge/v1/` followed by (.*?)\.", flat(1))
    assert listed
    names = set(re.findall(r"`([a-z]+)`", listed[1]))
    local = {purposes.NODE_KEY, purposes.DATA_KEY, purposes.AT_REST, purposes.SALT, purposes.SEARCH, purposes.ARCHIVE}
    every = {v for k, v in vars(purposes).items() if k.isupper() and not k.startswith("_")}
    assert {f"bridge/v1/{name}" for name in names} == every - local


def test_the_bytes_of_the_first_example_are_right() -> None:
    (block,) = re.findall(r"^PAE\(.*?^```$", SECTIONS[1], flags=re.MULTILINE | re.DOTALL)
    shown = "".join(
        "".join(re.findall(r"^((?:[0-9a-f]{2} )*[0-9a-f]{2})\s{2}", block, flags=re.MULTILINE)).split()
    )
    assert bytes.fromhex(shown) == pae("bridge/v1/receipts", b"{}")


def test_the_examples_are_well_formed() -> None:
    assert wire.decode_header(example("header")).bucket == 4
    assert len(wire.decode_receipts(example("receipts")).statements) == 2
    assert wire.decode_hello(example("hello")).descriptor
    assert wire.decode_json(example("key"), PublishedKey, limit=1000, what="key").raw


def test_the_example_of_a_descriptor_is_well_formed_but_for_its_keys() -> None:
    shown: dict[str, Any] = json.loads(example("descriptor"))
    assert tuple(shown) == Descriptor.__struct_fields__
    whole = json.loads(msgspec.json.encode(descriptor()))
    for use in ("identity_keys", "message_keys", "sealing_keys"):
        for key, real in zip(shown[use], whole[use], strict=True):
            assert key["alg"] == real["alg"]
            key["public"] = real["public"]
    assert wire.decode_descriptor(json.dumps(shown).encode()).node_id == "kent-mash"


def test_every_field_of_a_statement_is_described() -> None:
    described = " ".join(table(6, "`message`")) + " "
    assert set(re.findall(r"[a-z_]+", described)) == set(Statement.__struct_fields__)
