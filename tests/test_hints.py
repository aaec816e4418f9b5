"""Every fault of keeping, evidence and backup says what to do next."""

import ast
from pathlib import Path

import pytest

import bridge

ROOMS = (
    "cli/audit", "cli/backup", "cli/key", "cli/retention", "cli/verify", "crypto/archive", "crypto/vault", "evidence/file",
    "nodes/backup", "nodes/checkpoint", "nodes/prove", "nodes/remember", "nodes/restore", "nodes/retain", "nodes/rotate",
    "nodes/withdraw", "retention", "storage/audit", "storage/contents", "storage/keystore", "storage/restoring",
    "withdrawals",
)  # fmt: skip
HINT_AT = {"Rejected": 2, "Unavailable": 2, "Misconfigured": 1, "Malformed": 1}
FOR_PARTNERS = {"The alert is another sender's.", "This log has no head of that size."}
"""What only another node is told: nobody reads it who could do something."""


def faults(room: str) -> list[ast.Call]:
    tree = ast.parse((Path(bridge.__file__).parent / f"{room}.py").read_text("utf-8"))
    return [
        each
        for each in ast.walk(tree)
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Name) and each.func.id in HINT_AT
    ]


def hint_of(call: ast.Call) -> ast.expr | None:
    assert isinstance(call.func, ast.Name)
    named = next((each.value for each in call.keywords if each.arg == "hint"), None)
    at = HINT_AT[call.func.id]
    return named or (call.args[at] if len(call.args) > at else None)


@pytest.mark.parametrize("room", ROOMS)
def test_each_fault_says_what_to_do(room: str) -> None:
    silent = []
    for call in faults(room):
        hint = hint_of(call)
        sentence = call.args[HINT_AT[call.func.id] - 1] if isinstance(call.func, ast.Name) and call.args else None
        if isinstance(sentence, ast.Constant) and sentence.value in FOR_PARTNERS:
            continue
        if hint is None or (isinstance(hint, ast.Constant) and len(str(hint.value)) < 12):
            silent.append(f"{room}.py:{call.lineno}")
    assert silent == []


def test_there_are_faults_to_look_at() -> None:
    assert sum(len(faults(room)) for room in ROOMS) > 45
