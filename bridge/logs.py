"""Logging: one JSON object a line on stderr, and nothing personal in any of them.

What is logged is an event name, ids and codes. Fields that are not in `FIELDS`, or whose value has not the form given
there, are left out and counted. Of an error its type and the places in the code are written, never its text or local
variables; only our own errors may say their sentence, which never holds content. Of the libraries' own log lines only
the logger and the place in the code are written: their texts hold paths, addresses and whole objects.
"""

import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import PurePath
from types import TracebackType
from typing import Any, Final, Protocol

import msgspec
import structlog

from bridge.clock import Clock
from bridge.errors import BridgeError

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}

_CODE = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{1,62}")
_HEX = re.compile(r"[0-9a-f]{4,64}")
_ID = re.compile(r"[0-9a-f]{4,64}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|BR-[0-9A-Z]{4}-[0-9A-Z]{4}")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")

FIELDS: Final[Mapping[str, re.Pattern[str] | None]] = {
    # Whom and what it is about.
    "partner": _SLUG,
    "node": _SLUG,
    "alert": _ID,
    "envelope": _HEX,
    "message": _HEX,
    "subject": _ID,
    "kid": _HEX,
    "token": _HEX,
    "webhook": re.compile(r"[0-9a-z]{12}"),
    "area": re.compile(r"[A-Z]\d{8}"),
    "function": re.compile(r"[A-Z][A-Z0-9_]{1,31}"),
    "day": _DAY,
    # What happened.
    "code": _CODE,
    "status": re.compile(r"[a-z_-]{1,20}|[1-5]\d\d"),
    "state": _CODE,
    "step": _CODE,
    "job": _CODE,
    "signal": re.compile(r"SIG[A-Z]{3,6}"),
    "route": re.compile(r"/[a-z0-9_/{}.-]{0,60}"),
    "method": re.compile(r"[A-Z]{3,7}"),
    # How the node is set up.
    "version": re.compile(r"\d[0-9a-z.+]{0,30}"),
    "engine": re.compile(r"[a-z]{2,12}"),
    "journal": re.compile(r"[a-z]{2,12}"),
    "sqlite": re.compile(r"[0-9.]{1,12}"),
    "listen": re.compile(r"[0-9a-f.:\[\]]{1,64}"),
    "tls": _CODE,
    # Numbers.
    "port": None,
    "pid": None,
    "seq": None,
    "count": None,
    "failures": None,
    "attempts": None,
    "bytes": None,
    "seconds": None,
    "days": None,
    "number": None,
    "waiting": None,
}
"""Every field that may be logged, with the form of its text; None is for numbers alone."""

_EVENT = re.compile(r"[a-z][a-z0-9-]{1,63}")
_LOGGER = re.compile(r"[A-Za-z0-9_.]{1,60}")
_TYPE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_MADE_HERE = frozenset({"level", "errors"})

_FRAMES: Final = 40
_CAUSES: Final = 8


class _Stream(Protocol):
    def write(self, text: str, /) -> object: ...

    def flush(self) -> object: ...


def set_up(
    level: str, clock: Clock, stream: _Stream | None = None, dropped: Callable[[int], None] | None = None
) -> None:
    """Send everything that is logged in this process, ours and the libraries', to `stream` (stderr) as JSON lines.

    `dropped` is told how many fields a line lost. Never raises from a log call, even when nobody reads the stream.
    """
    writer = _Writer(stream)
    strict = _Allowed(dropped or _nobody)
    structlog.configure(
        processors=[structlog.processors.add_log_level, _failure, strict, _Stamp(clock), _json],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: writer,
        context_class=dict,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, _Through):
            root.removeHandler(handler)
    root.addHandler(_Through(writer, clock))
    root.setLevel(max(LEVELS[level], logging.INFO))
    # Each request with its path, in a text: ours are counted and logged by route instead.
    logging.getLogger("aiohttp.access").disabled = True
    # At debug level these two write the values that go into the database and through the loop.
    logging.getLogger("aiosqlite").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def catch_uncaught() -> None:
    """Log what nobody caught, in any thread, instead of letting Python print it with its text."""
    log = structlog.get_logger()

    def fatal(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        del kind, trace
        if not isinstance(error, KeyboardInterrupt):
            log.error("uncaught", exc_info=error)

    def in_thread(told: threading.ExceptHookArgs) -> None:
        log.error("uncaught", exc_info=told.exc_value)

    def unraisable(told: "sys.UnraisableHookArgs") -> None:
        log.error("unraisable", exc_info=told.exc_value)

    sys.excepthook = fatal
    threading.excepthook = in_thread
    sys.unraisablehook = unraisable


def failures(error: BaseException) -> list[dict[str, Any]]:
    """An error and what led to it, newest first: types and places, and the code and sentence of our own errors."""
    found: list[dict[str, Any]] = []
    seen: set[int] = set()
    waiting = [error]
    while waiting and len(found) < _CAUSES:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        kind = type(one)
        told: dict[str, Any] = {"type": kind.__name__ if _TYPE.fullmatch(kind.__name__) else "unnamed"}
        if isinstance(one, BridgeError):
            told["code"] = one.code
            told["sentence"] = str(one)
        told["frames"] = list(_places(one.__traceback__))[-_FRAMES:]
        found.append(told)
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        cause = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
        if cause is not None:
            waiting.append(cause)
    return found


def _places(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        code = trace.tb_frame.f_code
        yield f"{_short(code.co_filename)}:{trace.tb_lineno} {code.co_name}"
        trace = trace.tb_next


def _short(path: str) -> str:
    """The last two parts of a path: enough to find the line, without the names of this machine's folders."""
    return "/".join(PurePath(path).parts[-2:])


def _nobody(count: int) -> None:
    del count


class _Writer:
    """The end of the chain. A reader that went away or a full disk must not stop an alert."""

    def __init__(self, stream: _Stream | None) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def msg(self, line: str) -> None:
        stream = self._stream or sys.stderr
        try:
            with self._lock:
                stream.write(line + "\n")
                stream.flush()
        except (OSError, ValueError):
            return

    debug = info = warning = error = critical = exception = fatal = log = msg


def _failure(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    given = event.pop("exc_info", None)
    event.pop("stack_info", None)
    event.pop("stack", None)
    event.pop("errors", None)
    error = given if isinstance(given, BaseException) else None
    if isinstance(given, tuple) and len(given) == 3:
        error = given[1]
    elif given and error is None:
        error = sys.exc_info()[1]
    if error is not None:
        event["errors"] = failures(error)
    return event


class _Allowed:
    """Keeps what is on the list and of its form; counts the rest."""

    def __init__(self, dropped: Callable[[int], None]) -> None:
        self._dropped = dropped

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        kept: dict[str, Any] = {}
        lost = 0
        for name, value in event.items():
            if name == "event":
                named = isinstance(value, str) and _EVENT.fullmatch(value)
                kept[name] = value if named else "unnamed"
                lost += not named
            elif name in _MADE_HERE or _may_pass(name, value):
                kept[name] = value
            else:
                lost += 1
        if lost:
            kept["dropped"] = lost
            self._dropped(lost)
        return kept


def _may_pass(name: str, value: object) -> bool:
    if name not in FIELDS:
        return False
    if value is None or isinstance(value, bool | int | float):
        return True
    form = FIELDS[name]
    return form is not None and isinstance(value, str) and form.fullmatch(value) is not None


class _Stamp:
    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(
        self, _logger: Any, _method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        now: datetime = self._clock.now().astimezone(UTC)
        first = {"time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z")}
        return first | {name: event[name] for name in ("level", "event")} | dict(event)


def _json(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
    return msgspec.json.encode(event).decode()


class _Through(logging.Handler):
    """Brings the libraries' log lines into the chain: which logger, where in the code, which error; never the text."""

    def __init__(self, writer: _Writer, clock: Clock) -> None:
        super().__init__()
        self._writer = writer
        self._stamp = _Stamp(clock)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line for `record`."""
        event: MutableMapping[str, Any] = {
            "event": "library",
            "level": record.levelname.lower() if record.levelno % 10 == 0 else "info",
            "logger": record.name if _LOGGER.fullmatch(record.name) else "unnamed",
            "at": f"{_short(record.pathname)}:{record.lineno}",
            "exc_info": record.exc_info,
        }
        event = self._stamp(None, "", _failure(None, "", event))
        self._writer.msg(_json(None, "", event))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # the name is logging's
        """Do nothing: logging's own form prints the record with its values."""
        del record
