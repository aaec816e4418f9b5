"""Settings: what is misspelt is refused by its path, and every setting has its default and its sentence."""

import re
import string
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config import FILE_NAME, Contact, Node, Settings, example, is_loopback, render
from bridge.errors import Misconfigured

EXAMPLE = Path(__file__).parents[1] / "configs" / "node.example.toml"
NODE = """[node]
id = "kent-mash"
name = "Kent MASH"
agency = "MASH"
areas = ["E10000016"]
functions = ["MASH"]
url = "https://bridge.kent.example"
"""


def node(**changes: Any) -> Node:
    plain: dict[str, Any] = {
        "id": "kent-mash",
        "name": "Kent MASH",
        "agency": "MASH",
        "areas": ("E10000016",),
        "functions": ("MASH",),
        "url": "https://bridge.kent.example",
    }
    return Node(**plain | changes)


def test_the_example_file_is_the_one_made_from_the_settings() -> None:
    assert EXAMPLE.read_text() == example(), (
        "write it anew: python -c 'from bridge.config import example; print(example(), end=str())' > configs/node.example.toml"
    )


def test_the_example_says_the_defaults_and_a_sentence_above_each_setting() -> None:
    lines = EXAMPLE.read_text().splitlines()
    settings = [at for at, line in enumerate(lines) if re.match(r"\w+ = ", line)]
    assert len(settings) > 45
    for at in settings:
        assert lines[at - 1].startswith("# "), lines[at]
        assert lines[at - 1].endswith("."), lines[at]
    from_example = Settings.read(EXAMPLE.read_text())
    assert from_example == Settings(node=from_example.node)
    assert from_example.node == node(functions=("MASH", "LA_ASC"), url="https://bridge.kent.example:8443")


def test_a_node_needs_its_own_section_alone() -> None:
    assert Settings.read(NODE) == Settings(node=node())


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[listen]\nprot = 1", "listen.prot"),
        ("[listne]\nport = 1", "listne"),
        ("[node.contact]\nphone = 'x'", "node.contact.phone"),
        ("top = 1", "top"),
        ("[listen.port]\nx = 1", "listen.port"),
        ("[listen]\nport = 70000", "listen.port"),
        ("[listen]\nport = 'CANARY'", "listen.port"),
        ("[listen]\ntls = 'CANARY'", "listen.tls"),
        ("[delivery]\ndeliver_by_days = 31", "delivery.deliver_by_days"),
        ("[delivery]\nurgent_first = nan", "delivery.urgent_first"),
        ("[delivery]\nurgent_first = 0", "delivery.urgent_first"),
        ("[delivery]\nurgent_first = 400", "delivery.urgent_first"),
        ("[delivery]\nbatch = 65", "delivery.batch"),
        ("[retention]\ndays = {CANARY = 3}", "retention.days"),
        ("[retention]\ndays = {HOLD = 3}", "retention.days"),
        ("[retention]\ndays = {ADOPTED = 366}", "retention.days.ADOPTED"),
        ("[retention]\ndays = {ADOPTED = 0}", "retention.days"),
        ("[limits]\npage = 100\npage_max = 50", "limits.page"),
        ("[log]\nlevel = 'CANARY'", "log.level"),
        ("[listen]\ntls = 'files'", "listen.tls"),
        ("[keys]\nkey_file = ''", "keys"),
        ("[node.contact]\ndesk = 'Duty desk'", "node.contact"),
        ("[node.contact]\ndesk = 'D'\ntelephone = 'CANARY'\nhours = 'H'", "node.contact.telephone"),
    ],
)
def test_what_is_wrong_is_refused_by_its_path_and_not_quoted(text: str, path: str) -> None:
    text = f"{text}\n{NODE}" if text.startswith("top") else f"{NODE}\n{text}\n"
    with pytest.raises(Misconfigured) as caught:
        Settings.read(text)
    assert path in str(caught.value)
    assert "CANARY" not in str(caught.value)
    assert caught.value.exit_status == 2


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ('id = "Kent"', "node.id"),
        ('id = "k"', "node.id"),
        ('name = ""', "node.name"),
        ('agency = "NOBODY"', "node.agency"),
        ("areas = []", "node.areas"),
        ('areas = ["Kent"]', "node.areas"),
        ('functions = ["mash"]', "node.functions"),
        ('url = "bridge.kent.example"', "node.url"),
        ('url = "ftp://bridge.kent.example"', "node.url"),
        ('url = "https://user:secret@bridge.kent.example"', "node.url"),
        ('url = "https://bridge.kent.example/path"', "node.url"),
        ('url = "https://bridge.kent.example:99999"', "node.url"),
        ('url = "https://bridge.kent.example:0"', "node.url"),
        ('url = "https://[::1"', "node.url"),
        ('url = "http://bridge.kent.example"', "node.url must be https"),
        ('url = "http://10.1.2.3"', "node.url must be https"),
        ('url = "http://127.0.0.1:8443"', "listen.tls"),
    ],
)
def test_a_node_is_refused_by_the_path_of_its_wrong_value(line: str, path: str) -> None:
    key = line.split(" ", 1)[0]
    text = re.sub(rf"^{key} = .*$", lambda _: line, NODE, flags=re.MULTILINE)
    with pytest.raises(Misconfigured) as caught:
        Settings.read(text)
    assert path in str(caught.value)


def test_a_missing_value_and_a_missing_section_are_named() -> None:
    with pytest.raises(Misconfigured, match=r"node\.url is missing"):
        Settings.read(NODE.replace('url = "https://bridge.kent.example"\n', ""))
    with pytest.raises(Misconfigured, match="node is missing"):
        Settings.read("")


@pytest.mark.parametrize(
    "text", ["[node", "a = \nb", "a = 1\na = 2", "[" * 5000, "x = " + "[" * 5000, "\x00"], ids=range(6)
)
def test_what_is_not_toml_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(Misconfigured, match=r"is not TOML"):
        Settings.read(text)


def test_a_directory_without_a_node_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="bridge init"):
        Settings.load(tmp_path, {})
    (tmp_path / FILE_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(Misconfigured, match="cannot be read"):
        Settings.load(tmp_path, {})


def test_the_environment_overrules_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text(NODE + "[listen]\nport = 1\n")
    settings = Settings.load(
        tmp_path,
        {
            "BRIDGE_LISTEN__PORT": "9443",
            "BRIDGE_DELIVERY__URGENT_FIRST": "0.1",
            "BRIDGE_DELIVERY__ALLOW_LOOPBACK": "true",
            "BRIDGE_NODE__AREAS": "E10000016, E09000008",
            "BRIDGE_NODE__NAME": "12",
            "BRIDGE_RETENTION__DAYS__ADOPTED": "14",
            "BRIDGE_RETENTION__DAYS__EXERCISE": "1",
            "BRIDGE_DIR": "/elsewhere",
            "BRIDGE_PORT": "1",
            "PATH": "/bin",
        },
    )
    assert settings.listen.port == 9443
    assert settings.delivery.urgent_first == 0.1
    assert settings.delivery.allow_loopback is True
    assert settings.node.areas == ("E10000016", "E09000008")
    assert settings.node.name == "12"
    assert settings.retention.days == {"ADOPTED": 14, "EXERCISE": 1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BRIDGE_LISTEN__PROT", "1"),
        ("BRIDGE_LISTNE__PORT", "1"),
        ("BRIDGE_LISTEN__PORT", "CANARY"),
        ("BRIDGE_LISTEN__PORT", "70000"),
        ("BRIDGE_LISTEN__PORT__X", "1"),
        ("BRIDGE_NODE__CONTACT", "x"),
        ("BRIDGE_RETENTION__DAYS", "1"),
        ("BRIDGE_DELIVERY__ALLOW_PRIVATE", "perhaps"),
        ("BRIDGE_LISTEN__", "1"),
        ("BRIDGE___PORT", "1"),
    ],
)
def test_a_wrong_environment_variable_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        Settings.read(NODE, {name: value})
    assert name in str(caught.value)
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "tls", "bind", "loopback", "warned"),
    [
        ("https://bridge.kent.example", "own", "0.0.0.0", False, "duty desk"),  # noqa: S104  # the expected default
        ("http://127.0.0.1:8001", "off", "127.0.0.1", True, "plain http"),
        ("http://localhost:8001", "off", "127.0.0.1", True, "plain http"),
        ("https://127.0.0.1:8001", "own", "127.0.0.1", True, "on loopback"),
        ("https://[::1]:8001", "own", "::1", True, "on loopback"),
    ],
)
def test_a_new_node_gets_what_follows_from_its_url(
    url: str, tls: str, bind: str, loopback: bool, warned: str
) -> None:
    settings = Settings.first(node(url=url), port=8001)
    assert (settings.listen.tls, settings.bind_host, settings.delivery.allow_loopback) == (
        tls,
        bind,
        loopback,
    )
    assert settings.listen.port == 8001
    assert any(warned in warning for warning in settings.warnings())


def test_a_new_node_with_wrong_values_is_refused_before_anything_is_written() -> None:
    with pytest.raises(Misconfigured, match=r"node\.url must be https"):
        Settings.first(node(url="http://bridge.kent.example"), port=1)


def test_tls_off_behind_a_proxy_is_allowed_and_said() -> None:
    settings = Settings.read(NODE + "[listen]\ntls = 'off'\n")
    assert sum("TLS is off" in warning for warning in settings.warnings()) == 2


@pytest.mark.parametrize(
    ("host", "answer"),
    [
        ("localhost", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("localhost.example", False),
        ("", False),
    ],
)
def test_loopback_is_known_by_name(host: str, answer: bool) -> None:
    assert is_loopback(host) is answer


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(
    name=texts.filter(bool),
    desk=texts.filter(bool),
    hours=texts.filter(bool),
    passphrase=texts,
    areas=st.lists(
        st.from_regex(r"[A-Z][0-9]{8}", alphabet=string.printable, fullmatch=True), min_size=1, max_size=4
    ),
    seconds=st.floats(0.01, 300),
    days=st.dictionaries(st.sampled_from(["ADOPTED", "UNADOPTED", "EXERCISE"]), st.integers(1, 30)),
)
def test_what_is_written_at_init_reads_back_the_same(
    name: str, desk: str, hours: str, passphrase: str, areas: list[str], seconds: float, days: dict[str, int]
) -> None:
    plain = Settings(node=node(name=name, areas=tuple(areas), contact=Contact(desk, "01622 000000", hours)))
    settings = msgspec.structs.replace(
        plain,
        delivery=msgspec.structs.replace(plain.delivery, urgent_first=seconds),
        keys=msgspec.structs.replace(plain.keys, passphrase_file=passphrase),
        retention=msgspec.structs.replace(plain.retention, days=days),
    )
    assert Settings.read(render(settings)) == settings


def test_what_is_written_at_init_is_what_differs_alone() -> None:
    text = render(Settings.first(node(), port=8443))
    assert "[listen]" not in text
    assert "urgent_first" not in text
    assert "port = 9000" in render(Settings.first(node(), port=9000))
