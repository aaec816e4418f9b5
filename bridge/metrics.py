"""Counters, gauges and histograms as Prometheus text. Every name stands in one table; no label names a person or place.

A label may only be one of `LABELS` and its values have a form; a value of any other form is counted as `other`, and so
is everything beyond `SERIES` combinations of one metric, so that nobody outside can make the node remember more.
Used from the event loop alone.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SERIES: Final = 2_000
OTHER: Final = "other"

LABELS: Final[Mapping[str, re.Pattern[str]]] = {
    "partner": re.compile(r"[a-z0-9][a-z0-9-]{1,62}"),  # a node's id
    "code": re.compile(r"[a-z][a-z0-9_-]{0,39}"),  # of bridge.errors.CODES or a reason of delivery
    "outcome": re.compile(r"[a-z0-9][a-z0-9-]{0,39}"),  # HTTP status or a code
    "status": re.compile(r"[a-z_]{1,20}"),  # of a receipt
    "state": re.compile(r"[a-z]{1,20}"),  # of a partner or a row
    "route": re.compile(r"/[a-z0-9_/{}.-]{0,60}"),  # as it is declared, with {id} for what it is asked about
    "format": re.compile(r"[a-z]{2,10}"),  # of bridge.formats.FORMATS
    "job": re.compile(r"[a-z][a-z-]{0,29}"),
}


@dataclass(frozen=True, slots=True)
class Declared:
    """One row of the table."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


SECONDS: Final = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    300,
    900,
    3600,
    14_400,
    86_400,
)

TABLE: Final[Mapping[str, Declared]] = {
    "bridge_alerts_sent_total": Declared(
        "counter", "Alerts taken in from this node's own people and systems."
    ),
    "bridge_alerts_received_total": Declared("counter", "Alerts stored that partners sent."),
    "bridge_mails_total": Declared("counter", "E-mails to the duty inbox, by what became of them.", ("outcome",)),
    "bridge_webhook_tries_total": Declared(
        "counter", "Tries to tell the area's own systems, by HTTP status or reason.", ("outcome",)
    ),
    "bridge_inbox_steps_total": Declared("counter", "Steps taken with received alerts.", ("status",)),
    "bridge_copies_total": Declared("counter", "Copies of received alerts given out, by format.", ("format",)),
    "bridge_copies_due": Declared("gauge", "Copies in other systems that should be destroyed and are not said to be."),
    "bridge_posts_total": Declared(
        "counter", "Tries to hand envelopes to partners, by HTTP status.", ("outcome",)
    ),
    "bridge_delivery_failures_total": Declared(
        "counter", "Tries that brought no signed answer.", ("partner", "code")
    ),
    "bridge_delivery_seconds": Declared(
        "histogram", "From submission to the recipient's stored receipt.", bounds=SECONDS
    ),
    "bridge_security_events_total": Declared(
        "counter", "Refused forgeries, replays with other content and the like.", ("partner", "code")
    ),
    "bridge_requests_total": Declared("counter", "HTTP requests answered.", ("route", "outcome")),
    "bridge_request_seconds": Declared(
        "histogram", "Time to answer an HTTP request.", ("route",), SECONDS[:12]
    ),
    "bridge_outbox_waiting": Declared("gauge", "Messages not yet settled by a receipt."),
    "bridge_outbox_oldest_seconds": Declared("gauge", "Age of the oldest message that nobody has taken."),
    "bridge_inbox_waiting": Declared("gauge", "Received alerts that nobody here has acknowledged."),
    "bridge_inbox_overdue": Declared("gauge", "Received alerts that nobody took within their target time."),
    "bridge_inbox_to_review": Declared("gauge", "Received alerts to be looked at again: half of their time is over."),
    "bridge_partners": Declared("gauge", "Partners, by state.", ("state",)),
    "bridge_job_failures_total": Declared("counter", "Background jobs that ended in an error.", ("job",)),
    "bridge_unread_expiring": Declared(
        "gauge", "Received alerts that nobody has opened and that are deleted within 14 days."
    ),
    "bridge_holds_to_review": Declared("gauge", "Legal holds whose day of review has come."),
    "bridge_purge_overdue": Declared("gauge", "Alerts that should have been deleted over an hour ago and were not."),
    "bridge_log_disputed": Declared(
        "gauge", "1 when a partner keeps a head of this node's audit log that the log does not fit."
    ),
    "bridge_purge_braked": Declared("gauge", "1 while deleting is braked because the clock is not trusted."),
    "bridge_log_fields_dropped_total": Declared(
        "counter", "Log fields left out because they are not on the list or not of its form."
    ),
    "bridge_started_seconds": Declared("gauge", "When the node was started, in seconds since 1970."),
}
"""Every metric of a node. docs and dashboards rely on the names."""

_Key = tuple[str, ...]


class _Spread:
    """One series of a histogram: how many were at most each bound, how many in all, and their sum."""

    __slots__ = ("counts", "sum", "total")

    def __init__(self, bounds: int) -> None:
        self.counts = [0] * bounds
        self.total = 0
        self.sum = 0.0


class Metrics:
    """The metrics of one node. A name or label that is not in the table is a fault of the program: ValueError."""

    def __init__(self, table: Mapping[str, Declared] = TABLE) -> None:
        self._table = table
        self._numbers: dict[str, dict[_Key, float]] = {}
        self._spreads: dict[str, dict[_Key, _Spread]] = {}
        for name, declared in table.items():
            if unknown := set(declared.labels) - LABELS.keys():
                raise ValueError(f"{name} has labels that are not allowed: {sorted(unknown)}")
            if declared.kind == "histogram":
                self._spreads[name] = {} if declared.labels else {(): _Spread(len(declared.bounds))}
            else:
                self._numbers[name] = {} if declared.labels else {(): 0.0}

    def inc(self, name: str, amount: float = 1, /, **labels: str) -> None:
        """Add to a counter. A counter never falls: ValueError for a negative amount."""
        if amount < 0:
            raise ValueError("a counter does not fall")
        series = self._numbers[name] if self._kind(name) == "counter" else self._not(name)
        key = self._key(name, series, labels)
        series[key] = series.get(key, 0.0) + amount

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Say what a gauge shows now."""
        series = self._numbers[name] if self._kind(name) == "gauge" else self._not(name)
        series[self._key(name, series, labels)] = value

    def observe(self, name: str, value: float, /, **labels: str) -> None:
        """Add one value to a histogram."""
        if self._kind(name) != "histogram":
            self._not(name)
        series, bounds = self._spreads[name], self._table[name].bounds
        key = self._key(name, series, labels)
        spread = series.get(key)
        if spread is None:
            spread = series[key] = _Spread(len(bounds))
        for at, bound in enumerate(bounds):
            if value <= bound:
                spread.counts[at] += 1
        spread.total += 1
        spread.sum += value

    def value(self, name: str, /, **labels: str) -> float:
        """What a counter or gauge shows, or how many values a histogram has seen; 0 if it was never touched."""
        if self._kind(name) == "histogram":
            spread = self._spreads[name].get(self._key(name, self._spreads[name], labels))
            return spread.total if spread else 0
        return self._numbers[name].get(self._key(name, self._numbers[name], labels), 0.0)

    def render(self) -> str:
        """Everything, in the text form that Prometheus reads (`CONTENT_TYPE`)."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        for name, declared in self._table.items():
            yield f"# HELP {name} {declared.help}"
            yield f"# TYPE {name} {declared.kind}"
            if declared.kind != "histogram":
                for key, number in sorted(self._numbers[name].items()):
                    yield f"{name}{_labels(declared.labels, key)} {_number(number)}"
                continue
            names = (*declared.labels, "le")
            for key, spread in sorted(self._spreads[name].items()):
                for bound, count in zip(declared.bounds, spread.counts, strict=True):
                    yield f"{name}_bucket{_labels(names, (*key, _number(bound)))} {count}"
                yield f"{name}_bucket{_labels(names, (*key, '+Inf'))} {spread.total}"
                yield f"{name}_sum{_labels(declared.labels, key)} {_number(spread.sum)}"
                yield f"{name}_count{_labels(declared.labels, key)} {spread.total}"

    def _kind(self, name: str) -> str:
        if name not in self._table:
            raise ValueError(f"{name} is not a metric of the table")
        return self._table[name].kind

    def _not(self, name: str) -> dict[_Key, float]:
        raise ValueError(f"{name} is a {self._table[name].kind}")

    def _key(self, name: str, series: Mapping[_Key, object], labels: Mapping[str, str]) -> _Key:
        wanted = self._table[name].labels
        if labels.keys() != set(wanted):
            raise ValueError(f"{name} has the labels {wanted}")
        key = tuple(
            value if LABELS[label].fullmatch(value) else OTHER
            for label, value in zip(wanted, map(labels.__getitem__, wanted), strict=True)
        )
        return key if key in series or len(series) < SERIES else (OTHER,) * len(wanted)


def _labels(names: Iterable[str], values: Iterable[str]) -> str:
    # The forms in LABELS hold nothing that would need escaping.
    inside = ",".join(f'{name}="{value}"' for name, value in zip(names, values, strict=True))
    return f"{{{inside}}}" if inside else ""


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
