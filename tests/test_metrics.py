"""Metrics: declared in one table, and never a label that could name a person."""

import ast
import re
from pathlib import Path

import pytest

from bridge.metrics import LABELS, OTHER, SERIES, TABLE, Declared, Metrics

SOURCE = Path(__file__).parents[1] / "bridge"


def test_counters_gauges_and_histograms_are_shown_as_prometheus_reads_them() -> None:
    metrics = Metrics(
        {
            "a_total": Declared("counter", "Things.", ("partner",)),
            "b": Declared("gauge", "Now."),
            "c_seconds": Declared("histogram", "Time.", bounds=(0.1, 1)),
        }
    )
    metrics.inc("a_total", partner="kent-mash")
    metrics.inc("a_total", 2, partner="kent-mash")
    metrics.set("b", 1.5)
    for value in (0.05, 0.1, 0.5, 7):
        metrics.observe("c_seconds", value)
    assert metrics.render() == (
        "# HELP a_total Things.\n# TYPE a_total counter\n"
        'a_total{partner="kent-mash"} 3\n'
        "# HELP b Now.\n# TYPE b gauge\nb 1.5\n"
        "# HELP c_seconds Time.\n# TYPE c_seconds histogram\n"
        'c_seconds_bucket{le="0.1"} 2\nc_seconds_bucket{le="1"} 3\nc_seconds_bucket{le="+Inf"} 4\n'
        "c_seconds_sum 7.65\nc_seconds_count 4\n"
    )
    assert metrics.value("a_total", partner="kent-mash") == 3
    assert metrics.value("a_total", partner="croydon") == 0
    assert metrics.value("c_seconds") == 4


def test_a_counter_without_labels_shows_nought_before_its_first_event() -> None:
    assert "\nbridge_alerts_sent_total 0\n" in Metrics().render()


@pytest.mark.parametrize(
    "value", ["Connor Smith", 'x"} 1\nforged 1', "", "a" * 64, "CR0 1AA", "Ünï", "kent\n"], ids=range(7)
)
def test_a_value_of_another_form_is_counted_as_other(value: str) -> None:
    metrics = Metrics()
    metrics.inc("bridge_security_events_total", partner=value, code="bad-signature")
    assert f'partner="{OTHER}",code="bad-signature"}} 1' in metrics.render()
    assert not value or value not in metrics.render()


def test_nobody_can_make_the_node_remember_more_series() -> None:
    metrics = Metrics()
    for number in range(SERIES + 500):
        metrics.inc("bridge_delivery_failures_total", partner=f"node-{number}", code="timeout")
    shown = [
        line for line in metrics.render().splitlines() if line.startswith("bridge_delivery_failures_total{")
    ]
    assert len(shown) == SERIES + 1
    assert metrics.value("bridge_delivery_failures_total", partner=OTHER, code=OTHER) == 500


@pytest.mark.parametrize(
    ("call", "arguments", "labels"),
    [
        ("inc", ("unknown_total",), {}),
        ("inc", ("bridge_outbox_waiting",), {}),
        ("inc", ("bridge_alerts_sent_total", -1), {}),
        ("inc", ("bridge_alerts_sent_total",), {"partner": "kent-mash"}),
        ("inc", ("bridge_posts_total",), {}),
        ("set", ("bridge_alerts_sent_total", 1), {}),
        ("observe", ("bridge_outbox_waiting", 1), {}),
    ],
)
def test_what_is_not_in_the_table_is_a_fault_of_the_program(
    call: str, arguments: tuple[str, ...], labels: dict[str, str]
) -> None:
    with pytest.raises(ValueError):  # whichever of them it is
        getattr(Metrics(), call)(*arguments, **labels)


def test_a_label_beyond_the_list_cannot_be_declared() -> None:
    with pytest.raises(ValueError, match="not allowed"):
        Metrics({"a_total": Declared("counter", "Things.", ("name",))})


def test_the_table_follows_the_naming_rules_of_prometheus() -> None:
    for name, declared in TABLE.items():
        assert re.fullmatch(r"bridge_[a-z_]+", name)
        assert name.endswith("_total") == (declared.kind == "counter"), name
        assert bool(declared.bounds) == (declared.kind == "histogram"), name
        assert declared.help.endswith(".")
        assert "\n" not in declared.help
        assert set(declared.labels) <= LABELS.keys()
        assert list(declared.bounds) == sorted(declared.bounds)


def test_every_use_in_the_program_is_in_the_table_with_its_labels() -> None:
    """A wrong name would only show when its rare event happens, and break what was being counted."""
    kinds = {"inc": "counter", "set": "gauge", "observe": "histogram"}
    found = 0
    for path in SOURCE.rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if not (
                isinstance(call, ast.Call)
                and isinstance(call.func, ast.Attribute)
                and call.func.attr in kinds
                and call.args
                and isinstance(call.args[0], ast.Constant)
                and str(call.args[0].value).startswith("bridge_")
            ):
                continue
            found += 1
            declared = TABLE.get(str(call.args[0].value))
            where = f"{path.name}:{call.lineno}"
            assert declared is not None, where
            assert declared.kind == kinds[call.func.attr], where
            assert {keyword.arg for keyword in call.keywords} == set(declared.labels), where
    assert found
