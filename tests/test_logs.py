"""The log says what happened and never what was said: a canary put everywhere is found in no line."""

import ast
import asyncio
import io
import json
import logging
import re
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from bridge import logs
from bridge.errors import CODES, Misconfigured, Rejected, Unavailable

CANARY = "Canary Connor O'Smith"
SOURCE = Path(__file__).parents[1] / "bridge"
log = structlog.get_logger()


class StandingClock:
    def now(self) -> datetime:
        return datetime(2026, 11, 22, 10, 24, 1, 500_000, UTC)

    def monotonic(self) -> float:
        return 0.0


class Output(io.StringIO):
    lost = 0

    def lines(self) -> list[dict[str, Any]]:
        assert "Canary" not in self.getvalue()
        return [json.loads(line) for line in self.getvalue().splitlines()]


@pytest.fixture
def output() -> Iterator[Output]:
    output = Output()
    root = logging.getLogger()
    before = (list(root.handlers), root.level, sys.excepthook, threading.excepthook, sys.unraisablehook)
    names = ("aiohttp.access", "aiosqlite", "asyncio")
    levels = [(logging.getLogger(name), logging.getLogger(name).level) for name in names]

    def count(number: int) -> None:
        output.lost += number

    logs.set_up("info", StandingClock(), output, count)
    yield output
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    sys.excepthook, threading.excepthook, sys.unraisablehook = before[2:]
    logging.getLogger("aiohttp.access").disabled = False
    for logger, level in levels:
        logger.setLevel(level)


def fail(what: str) -> None:
    local = {"name": what, "body": what.encode()}  # a local variable that a traceback with locals would show
    raise ValueError(f"cannot read {what} {local}")


def test_a_line_is_json_with_time_level_event_and_its_fields(output: Output) -> None:
    log.info("partner-back", partner="kent-mash", failures=3, seconds=1.5)
    assert output.lines() == [
        {
            "time": "2026-11-22T10:24:01.500Z",
            "level": "info",
            "event": "partner-back",
            "partner": "kent-mash",
            "failures": 3,
            "seconds": 1.5,
        }
    ]


def test_less_than_the_level_is_not_written(output: Output) -> None:
    log.debug("too-small")
    assert output.getvalue() == ""


def test_of_a_foreign_error_its_type_and_places_are_written_and_nothing_else(output: Output) -> None:
    try:
        try:
            fail(CANARY)
        except ValueError as error:
            error.add_note(CANARY)
            raise RuntimeError(CANARY, {"who": CANARY}) from error
    except RuntimeError:
        log.exception("request-failed", route="/v1/alerts/{id}")
    (line,) = output.lines()
    assert [error["type"] for error in line["errors"]] == ["RuntimeError", "ValueError"]
    assert re.fullmatch(r"tests/test_logs\.py:\d+ fail", line["errors"][1]["frames"][-1])
    assert set(line["errors"][0]) == {"type", "frames"}


@pytest.mark.parametrize("how", ["error", "true", "tuple"])
def test_an_error_may_be_given_in_every_usual_way(output: Output, how: str) -> None:
    try:
        fail(CANARY)
    except ValueError as error:
        given = {"error": error, "true": True, "tuple": sys.exc_info()}[how]
        log.error("request-failed", exc_info=given)  # all three ways are the case
    assert output.lines()[0]["errors"][0]["type"] == "ValueError"


def test_our_own_errors_say_their_code_and_sentence_and_no_facts(output: Output) -> None:
    error = Rejected("quota", "The partner has sent more than its quota.", "Wait an hour.", who=CANARY)
    log.warning("refused", exc_info=error)
    (told,) = output.lines()[0]["errors"]
    assert told["code"] == "quota"
    assert told["sentence"] == "The partner has sent more than its quota. Wait an hour."


def test_groups_causes_and_loops_of_errors_are_told_and_bounded(output: Output) -> None:
    first, second = ValueError(CANARY), KeyError(CANARY)
    first.__cause__, second.__cause__ = second, first
    log.error("failed", exc_info=ExceptionGroup(CANARY, [first, OSError(2, CANARY, CANARY)]))
    assert [error["type"] for error in output.lines()[0]["errors"]] == [
        "ExceptionGroup",
        "ValueError",
        "FileNotFoundError",
        "KeyError",
    ]


def test_an_error_whose_type_is_named_after_somebody_is_unnamed(output: Output) -> None:
    log.error("failed", exc_info=type(CANARY, (Exception,), {})())
    assert output.lines()[0]["errors"][0]["type"] == "unnamed"


@pytest.mark.parametrize(
    "fields",
    [
        {"name": CANARY},
        {"narrative": CANARY},
        {"partner": CANARY},
        {"code": CANARY},
        {"alert": CANARY},
        {"envelope": CANARY},
        {"subject": CANARY},
        {"route": f"/v1/alerts/{CANARY}"},
        {"failures": CANARY},
        {"partner": {"name": CANARY}},
        {"code": [CANARY]},
        {"code": CANARY.encode()},
        {"time": CANARY},
        {"at": CANARY},
        {"logger": CANARY},
        {"dropped": CANARY},
        {CANARY: 1},
    ],
    ids="-".join,
)
def test_a_field_that_is_not_on_the_list_or_not_of_its_form_is_dropped_and_counted(
    output: Output, fields: dict[str, Any]
) -> None:
    log.info("something", **fields)
    (line,) = output.lines()
    assert line["dropped"] == 1
    assert output.lost == 1
    assert line["time"] == "2026-11-22T10:24:01.500Z"


@pytest.mark.parametrize("field", ["level", "errors", "stack_info", "stack"])
def test_a_field_that_the_log_makes_itself_cannot_be_given(output: Output, field: str) -> None:
    log.info("something", **{field: CANARY})
    assert output.lines()[0]["level"] == "info"


def test_an_event_that_is_a_text_is_unnamed(output: Output) -> None:
    log.info(f"got an alert on {CANARY}")  # noqa: G004  # the mistake is the case
    log.info("got an alert on %s", CANARY)
    log.bind(name=CANARY).info("bound")
    assert [line["event"] for line in output.lines()] == ["unnamed", "unnamed", "bound"]


def test_of_a_librarys_line_the_logger_and_the_place_are_written_and_no_text(output: Output) -> None:
    logging.getLogger("aiohttp.server").error("Error handling request from %s", CANARY)
    logging.getLogger("aiohttp.server").warning(f"path /v1/{CANARY}", extra={"who": CANARY}, stack_info=True)  # noqa: G004  # as libraries do
    logging.getLogger(CANARY).error("x")
    try:
        fail(CANARY)
    except ValueError:
        logging.getLogger("asyncio").exception(CANARY)
    lines = output.lines()
    assert [line["logger"] for line in lines] == ["aiohttp.server", "aiohttp.server", "unnamed", "asyncio"]
    assert [line["level"] for line in lines] == ["error", "warning", "error", "error"]
    assert all(line["event"] == "library" for line in lines)
    assert re.fullmatch(r"tests/test_logs\.py:\d+", lines[0]["at"])
    assert lines[3]["errors"][0]["type"] == "ValueError"


def test_the_access_log_of_the_server_and_the_values_of_the_database_driver_are_off(output: Output) -> None:
    logging.getLogger("aiohttp.access").info("GET /v1/alerts/%s", CANARY)
    logging.getLogger("aiosqlite").debug("executing %s", CANARY)
    assert output.getvalue() == ""


async def test_an_error_in_a_task_that_nobody_waits_for_is_told_without_its_text(output: Output) -> None:
    async def lonely() -> None:
        fail(CANARY)

    task = asyncio.create_task(lonely())
    await asyncio.sleep(0)
    del task
    asyncio.get_running_loop().call_soon(fail, CANARY)
    await asyncio.sleep(0.01)
    lines = output.lines()
    assert [line["logger"] for line in lines] == ["asyncio", "asyncio"]
    assert all(line["errors"][0]["type"] == "ValueError" for line in lines)


def test_a_warning_is_a_line_too(output: Output) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logs.set_up("info", StandingClock(), output)
        warnings.showwarning(CANARY, UserWarning, CANARY, 1)
    assert output.lines()[0]["logger"] == "py.warnings"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_nobody_caught_is_told_without_its_text(
    output: Output, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.catch_uncaught()
    try:
        fail(CANARY)
    except ValueError as error:
        sys.excepthook(type(error), error, error.__traceback__)
    thread = threading.Thread(target=fail, args=(CANARY,), name=CANARY)
    thread.start()
    thread.join()

    class Unraisable:
        def __del__(self) -> None:
            fail(CANARY)

    Unraisable()
    assert [line["event"] for line in output.lines()] == ["uncaught", "uncaught", "unraisable"]
    shown = capsys.readouterr()
    assert "Canary" not in shown.out + shown.err


def test_setting_up_twice_writes_each_line_once(output: Output) -> None:
    logs.set_up("info", StandingClock(), output)
    logging.getLogger("aiohttp.server").error("x")
    assert len(output.lines()) == 1


@pytest.mark.parametrize("problem", ["closed", "broken"])
def test_a_log_that_nobody_reads_stops_nothing(output: Output, problem: str) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, text)

    stream = Broken() if problem == "broken" else io.StringIO()
    if problem == "closed":
        stream.close()
    logs.set_up("info", StandingClock(), stream)
    log.error("still-working")
    logging.getLogger("aiohttp.server").error("x")


def test_every_code_may_be_logged() -> None:
    form = logs.FIELDS["code"]
    assert form is not None
    assert all(form.fullmatch(code) for code in CODES)
    for error in (Misconfigured("No."), Unavailable("storage", "No.")):
        assert form.fullmatch(error.code)


def test_every_log_call_in_the_program_uses_an_event_name_and_listed_fields() -> None:
    """A field that is not listed would be dropped just when somebody needs it."""
    methods = {"debug", "info", "warning", "error", "exception", "critical"}
    found = 0
    for path in SOURCE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if not (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in methods
                and isinstance(call.func.value, ast.Name)
                and call.func.value.id in ("log", "_log", "logger")
            ):
                continue
            found += 1
            where = f"{path.name}:{call.lineno}"
            assert len(call.args) == 1, where
            assert isinstance(call.args[0], ast.Constant), where
            assert re.fullmatch(r"[a-z][a-z0-9-]{1,63}", call.args[0].value), where
            for keyword in call.keywords:
                assert keyword.arg in logs.FIELDS or keyword.arg == "exc_info", f"{where} {keyword.arg}"
    assert found
