"""Alerts for the desk of Croydon's hub: sent by the jobcentre's node as its own people or systems would."""

import asyncio
from typing import Any

import msgspec
from house import Someone
from street import Street

HOSTILE = "<script>alert(1)</script>{{ 7*7 }} =cmd|' /C calc'!A0 \" onmouseover=x <b>"
"""What somebody may try in a field; characters that turn text around do not even get past the wire."""

CROYDON = "E09000008"


def alert(**changes: Any) -> bytes:
    """An alert for Croydon; a dictionary changes the fields it names, anything else replaces."""
    whole: dict[str, Any] = {
        "v": 1,
        "priority": "LOW",
        "reporter": {"agency_code": "JCP", "role_title": "Work coach", "site": "Maidstone", "identity_protected": True},
        "subjects": [{"local_ref": "s1", "names": [{"text": "Kez"}], "age_band": "16_17", "roles": ["exploited"],
                      "description": "Tall, grey tracksuit"}],
        "home": {"district": CROYDON},
        "event": {"kinds": ["recruitment_out_of_area"], "narrative": "Offered three claimants cash.\nTwice this week.",
                  "observed_from": "2026-11-22T09:40:00Z", "place": {"type": "street", "text": "Week Street", "district": "E07000110"}},
        "objects": [{"local_ref": "o1", "kind": "phone", "value": "07700 900123"},
                    {"local_ref": "o2", "kind": "address", "value": "1 Example Road", "handling": "C"}],
        "relations": [{"from": "s1", "to": "o1", "verb": "uses"}],
        "grading": {"how_known": "self", "handling": "P"},
        "legal": {"gateways": ["CDA_115"], "reasons_text": "Children are being recruited."},
        "recipients": [{"function": "MASH", "area": "home"}],
    }  # fmt: skip
    for name, value in changes.items():
        whole[name] = {**whole.get(name, {}), **value} if isinstance(value, dict) else value
    return msgspec.json.encode(whole)


async def arrived(street: Street, body: bytes | None = None) -> str:
    """Send an alert to the hub; its reference once it is there."""
    node = street.jobcentre.node
    done = await node.submit.send(body or alert(), "token:case-system", None)
    for _turn in range(200):
        if await street.hub.node.acknowledge.known(done.id):
            return done.reference
        await asyncio.sleep(0.02)
    raise AssertionError("the alert did not arrive")


async def until(someone: Someone, path: str, words: str) -> str:
    """What is on a page once it says these words."""
    seen = ""
    for _turn in range(100):
        seen = (await someone.get(path)).words
        if words in seen:
            return seen
        await asyncio.sleep(0.05)
    raise AssertionError(f"{words} is not in: {seen}")
