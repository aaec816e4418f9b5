"""The settings of a node: one frozen struct from one TOML file, D/node.toml, and nothing else.

Every setting stands here with its default and one sentence; `configs/node.example.toml` is made from them. A key that
is not known is refused with its path, because a setting that is misspelt is a setting that is not made. Only the
doors (nodes.app, cli) read settings; every other part is given values.
"""

import functools
import json
import re
import tomllib
import typing
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Meta

from bridge import vocabulary
from bridge.errors import Misconfigured

FILE_NAME: Final = "node.toml"
PREFIX: Final = "BRIDGE_"

Text = Annotated[str, Meta(max_length=400)]
Seconds = Annotated[float, Meta(ge=0.01, le=86_400)]
Port = Annotated[int, Meta(ge=0, le=65_535)]
Area = Annotated[str, Meta(pattern=r"^[A-Z][0-9]{8}\Z")]
Code = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_]{1,31}\Z")]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the file. Each field is described by the sentence that the example shows above it."""


class Contact(Section, frozen=True):
    """Whom partners ring when nothing else works: a desk, never a named person. All three or none."""

    desk: Annotated[Text, Meta(description='Duty desk, for example "MASH duty desk".')] = ""
    telephone: Annotated[
        Text, Meta(description="Its telephone number: digits, spaces, brackets and hyphens.")
    ] = ""
    hours: Annotated[Text, Meta(description='When somebody answers, for example "Mon-Fri 08:00-18:00".')] = ""


class Node(Section, frozen=True):
    """Who this node is. Partners hold a signed copy; a change reaches them with the next descriptor."""

    id: Annotated[
        str,
        Meta(
            pattern=r"^[a-z0-9][a-z0-9-]{1,62}\Z",
            description="Short name for ever: 2 to 63 of a-z, 0-9 and hyphens. Keys belong to it; never change it.",
        ),
    ]
    name: Annotated[str, Meta(min_length=1, max_length=120, description="Name that people see.")]
    agency: Annotated[Code, Meta(description="What kind of body you are, by code (docs/glossary.md).")]
    areas: Annotated[
        tuple[Area, ...],
        Meta(min_length=1, max_length=400, description="Areas you serve, by GSS or force code."),
    ]
    functions: Annotated[
        tuple[Code, ...], Meta(min_length=1, max_length=40, description="What you do there, by code.")
    ]
    url: Annotated[
        str,
        Meta(
            max_length=400,
            description="Address where partners reach this node: https, or http on this machine alone.",
        ),
    ]
    exercise: Annotated[
        bool,
        Meta(description="A node for practice: it takes and sends exercise alerts only, with its like only."),
    ] = False
    contact: Contact = Contact()


class Listen(Section, frozen=True):
    """Where the node listens, and how the line is protected."""

    host: Annotated[
        Text,
        Meta(
            description="Address to bind; empty means loopback if the url is on loopback, else every interface."
        ),
    ] = ""
    port: Annotated[Port, Meta(description="TCP port; 0 lets the system choose one.")] = 8443
    tls: Annotated[
        Literal["own", "files", "off"],
        Meta(
            description='"own": a certificate made by the node and pinned by partners; "files": yours; '
            '"off": only behind a proxy of yours or on loopback.'
        ),
    ] = "own"
    cert_file: Annotated[Text, Meta(description='Certificate chain in PEM, for tls = "files".')] = ""
    key_file: Annotated[
        Text, Meta(description='Its private key in PEM, for tls = "files"; readable by you alone.')
    ] = ""
    metrics: Annotated[
        Literal["loopback", "all", "off"],
        Meta(description="Who may read /metrics: this machine, everybody who reaches the port, or nobody."),
    ] = "loopback"


class Keys(Section, frozen=True):
    """What opens the keystore, and how long keys are used."""

    passphrase_file: Annotated[
        Text, Meta(description="File with the passphrase, readable by you alone; empty: a key file is used.")
    ] = ""
    key_file: Annotated[
        Text, Meta(description="Key file (0400), relative to the node's directory; better on another disk.")
    ] = "node.key"
    sealing_days: Annotated[
        int,
        Meta(
            ge=1,
            le=90,
            description="A new sealing key this often; the old one is destroyed after its last mail.",
        ),
    ] = 30
    message_days: Annotated[int, Meta(ge=1, le=730, description="A new message key this often.")] = 365
    descriptor_days: Annotated[
        int,
        Meta(ge=2, le=90, description="How long a signed descriptor holds; it is renewed at half of this."),
    ] = 60


class DatabaseSection(Section, frozen=True):
    """Where the data lies."""

    url: Annotated[
        Text, Meta(description="Engine and place; a path is relative to the node's directory.")
    ] = "sqlite:data.db"


class Delivery(Section, frozen=True):
    """When to try, and when to tell the sender. Times are seconds unless the name says otherwise."""

    urgent_first: Annotated[
        Seconds, Meta(description="Urgent: second try after this, doubling each time.")
    ] = 5.0
    urgent_max: Annotated[Seconds, Meta(description="Urgent: never longer than this between tries.")] = 300.0
    routine_first: Annotated[
        Seconds, Meta(description="Others: second try after this, doubling with jitter.")
    ] = 10.0
    routine_max: Annotated[Seconds, Meta(description="Others: never longer than this between tries.")] = (
        1800.0
    )
    probe_seconds: Annotated[
        Seconds, Meta(description="While a partner is away: how often a small HELLO asks whether it is back.")
    ] = 3.0
    deliver_by_days: Annotated[
        int,
        Meta(ge=1, le=30, description="Days until an alert that nobody took is given up as not delivered."),
    ] = 30
    undelivered_warn_urgent: Annotated[
        Seconds,
        Meta(description="Urgent: tell the sender after this that nobody has it, with a number to ring."),
    ] = 900.0
    undelivered_warn_routine: Annotated[
        Seconds, Meta(description="Others: tell the sender after this that nobody has it.")
    ] = 14_400.0
    connect_timeout: Annotated[Seconds, Meta(description="Longest wait for a connection to a partner.")] = 5.0
    total_timeout: Annotated[Seconds, Meta(description="Longest wait for a partner's whole answer.")] = 30.0
    batch: Annotated[
        int,
        Meta(
            ge=1, le=64, description="Most messages that one envelope carries when many wait for a partner."
        ),
    ] = 64
    ca_file: Annotated[
        Text,
        Meta(
            description="Certificate authorities in PEM for partners that are not pinned; empty: the system's."
        ),
    ] = ""
    allow_private: Annotated[
        bool, Meta(description="Partners may have private addresses (10.x, 192.168.x and so on).")
    ] = True
    allow_loopback: Annotated[
        bool, Meta(description="Partners may be on this machine: for trials and demos.")
    ] = False


class Webhooks(Section, frozen=True):
    """Where the area's own systems may be told of events. Endpoints themselves are added with `bridge webhook add`."""

    networks: Annotated[
        tuple[Annotated[str, Meta(max_length=64)], ...],
        Meta(
            max_length=64,
            description='Inner networks that may be posted to, for example ["10.20.0.0/16"]; other private addresses never.',
        ),
    ] = ()
    ca_file: Annotated[
        Text,
        Meta(description="Certificate authorities in PEM for inner systems; empty: the system's."),
    ] = ""
    timeout: Annotated[Seconds, Meta(description="Longest wait for a system's answer.")] = 15.0


class MeshSection(Section, frozen=True):
    """A second listener for systems that poll MESH. Mailboxes are made with `bridge mailbox create`."""

    port: Annotated[
        Port, Meta(description="TCP port, beside that of [listen] and protected alike; 0: there is none.")
    ] = 0
    workflow: Annotated[
        str,
        Meta(pattern=r"^[A-Z0-9_-]{1,50}\Z", description="Workflow id that messages carry, in and out."),
    ] = "BRIDGE_ALERT"
    address: Annotated[
        str,
        Meta(pattern=r"^[A-Z0-9]{4,20}\Z", description="Mailbox id to which systems send; the alert says where it goes."),
    ] = "BRIDGE01"
    chunk_bytes: Annotated[
        int, Meta(ge=1024, le=100_000_000, description="Largest piece in which a message is handed out.")
    ] = 20_000_000


class FolderSection(Section, frozen=True):
    """A shared folder for a system without an interface (docs/folder.md)."""

    path: Annotated[
        Text, Meta(description="The folder, which must be there; in it are in, out, receipts and refused. Empty: there is none.")
    ] = ""
    key: Annotated[
        Text, Meta(description="The system's age key (age1...): what is put into out is sealed to it.")
    ] = ""
    plain_out: Annotated[
        bool, Meta(description="Put files into out as they are: only where the folder itself is encrypted, and nobody else reads it.")
    ] = False
    plain_in: Annotated[
        bool, Meta(description="Take files from in that are not sealed to this node; `bridge folder key` shows its key.")
    ] = False
    format: Annotated[Text, Meta(description="In which format alerts are put there, if not as a profile says.")] = "json"
    profile_out: Annotated[Text, Meta(description="The outward mapping profile; empty: none.")] = ""
    profile_in: Annotated[
        Text, Meta(description="The inward mapping profile for records; empty: files hold an alert each, in JSON.")
    ] = ""
    team: Annotated[Text, Meta(description="The function for which it works, for example MASH; empty: all.")] = ""
    shared: Annotated[bool, Meta(description="The folder's group may read and write the files, too.")] = False
    seconds: Annotated[Seconds, Meta(description="How often the node looks into it.")] = 2.0


class Retention(Section, frozen=True):
    """How long content is kept, where you differ from the classes in docs/glossary.md."""

    days: Annotated[
        dict[str, Annotated[int, Meta(ge=1, le=3653)]],
        Meta(
            description="Days by class, for example { ADOPTED = 14 }; never above the ceiling of the class."
        ),
    ] = {}
    areas: Annotated[
        dict[Area, dict[str, Annotated[int, Meta(ge=1, le=3653)]]],
        Meta(
            description="The same for one of the areas you serve, "
            "for example { E09000010 = { UNADOPTED = 180 } }; the shortest holds."
        ),
    ] = {}
    ceiling_days: Annotated[
        int,
        Meta(
            ge=1,
            le=3653,
            description="Nothing that arrives is kept longer than this, whatever its sender asks.",
        ),
    ] = 730
    sweep_seconds: Annotated[
        Seconds, Meta(description="How often the node looks for content whose time is over.")
    ] = 60.0


class Limits(Section, frozen=True):
    """How much the node takes from one side at once."""

    carrier_bytes: Annotated[
        int, Meta(ge=300_000, le=4_194_304, description="Largest POST of envelopes that a partner may make.")
    ] = 4_194_304
    request_bytes: Annotated[
        int, Meta(ge=16_384, le=4_194_304, description="Largest request by people and systems. An alert alone is 98304 bytes at most, whatever stands here.")
    ] = 262_144
    partner_messages_per_hour: Annotated[
        int, Meta(ge=1, le=10_000_000, description="Messages that one partner may send in an hour.")
    ] = 20_000
    token_requests_per_minute: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Requests that one API token may make in a minute, if it has no own limit.")
    ] = 600
    connections: Annotated[int, Meta(ge=8, le=65_536, description="Connections open at one time.")] = 512
    header_seconds: Annotated[Seconds, Meta(description="A request's headers must be here by then.")] = 10.0
    body_seconds: Annotated[Seconds, Meta(description="A request's body must be here by then.")] = 30.0
    page: Annotated[int, Meta(ge=1, le=200, description="Rows on a page when the caller does not say.")] = 50
    page_max: Annotated[int, Meta(ge=1, le=200, description="Most rows on a page.")] = 200


class ClockSection(Section, frozen=True):
    """When deleting is braked because the time of day cannot be trusted. Sending and receiving go on."""

    step_seconds: Annotated[
        Seconds, Meta(description="Brake if the wall clock moves this far against the steady clock.")
    ] = 3600.0
    start_hours: Annotated[
        float,
        Meta(
            ge=0.1,
            le=8760,
            description="Brake if at start the wall clock is this far from the last time known.",
        ),
    ] = 24.0


SetRole = Literal["sender", "receiver", "receiver-lead", "auditor", "integration"]


class SignIn(Section, frozen=True):
    """How people sign in. Systems use tokens; see `bridge token`."""

    second_factor: Annotated[
        bool,
        Meta(description="A password alone is not enough: an authenticator app or a passkey is asked for too."),
    ] = True
    organisation: Annotated[
        Text, Meta(description='What the button says, for example "Kent County Council"; for issuer.')
    ] = ""
    issuer: Annotated[
        Text, Meta(description="Address of your organisation's OpenID Connect sign-in; empty: there is none.")
    ] = ""
    client_id: Annotated[Text, Meta(description="The name by which it knows this node.")] = ""
    secret_file: Annotated[
        Text, Meta(description="File with the client secret, readable by you alone; or use key_file.")
    ] = ""
    key_file: Annotated[
        Text, Meta(description="Private key in PEM with which this node proves itself to it (private_key_jwt).")
    ] = ""
    acr: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...],
        Meta(max_length=10, description="How strongly people must have signed in there (acr values), any one of these; empty: any."),
    ] = ()
    roles_claim: Annotated[Text, Meta(description="Claim of its ID token that names a person's roles or groups.")] = "roles"
    roles: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=200)], tuple[SetRole, ...]],
        Meta(
            description="What each of those may do here, for example { Duty-desk = [\"receiver\"] }; empty: roles are chosen here."
            " Nobody becomes an administrator by it."
        ),
    ] = {}


class Mail(Section, frozen=True):
    """E-mail to the duty inbox when something waits: references and a link, never anything of an alert."""

    host: Annotated[Text, Meta(description="Your mail server; empty: no mails are sent.")] = ""
    port: Annotated[Port, Meta(description="Its TCP port.")] = 587
    security: Annotated[
        Literal["starttls", "tls", "none"],
        Meta(description='How the line is kept private; "none" for a server on this machine alone.'),
    ] = "starttls"
    ca_file: Annotated[
        Text, Meta(description="Certificate authorities in PEM for an inner server; empty: the system's.")
    ] = ""
    user: Annotated[Text, Meta(description="Sign-in name at the server; empty: none is needed.")] = ""
    password_file: Annotated[Text, Meta(description="File with the password, readable by you alone.")] = ""
    sender: Annotated[Text, Meta(description="Address that mails come from.")] = ""
    to: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[^@\s,;<>]{1,64}@[^@\s,;<>]{1,200}\Z")], ...],
        Meta(max_length=10, description='Duty inboxes, for example ["duty@kent.example"].'),
    ] = ()


class Log(Section, frozen=True):
    """What is written to stderr, one JSON object a line."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least that is written. No level shows anything about a person."),
    ] = "info"


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that can be set. Made by :meth:`load`, or for a new node by :meth:`first`."""

    node: Node
    listen: Listen = Listen()
    keys: Keys = Keys()
    database: DatabaseSection = DatabaseSection()
    delivery: Delivery = Delivery()
    webhooks: Webhooks = Webhooks()
    mesh: MeshSection = MeshSection()
    folder: FolderSection = FolderSection()
    retention: Retention = Retention()
    limits: Limits = Limits()
    clock: ClockSection = ClockSection()
    sign_in: SignIn = SignIn()
    mail: Mail = Mail()
    log: Log = Log()

    @classmethod
    def load(cls, directory: Path, environ: Mapping[str, str]) -> "Settings":
        """Read D/node.toml, then what `BRIDGE_SECTION__KEY` in `environ` says otherwise.

        Raises Misconfigured with the path of the first key that is unknown, missing or has a wrong value.
        """
        try:
            text = (directory / FILE_NAME).read_bytes().decode()
        except FileNotFoundError:
            raise Misconfigured(
                "There is no node in this directory.",
                "Make one with `bridge init`, or say another with --dir.",
            ) from None
        except (OSError, UnicodeDecodeError):
            raise Misconfigured(
                f"{FILE_NAME} cannot be read.", "It must be a UTF-8 text that you may read."
            ) from None
        return cls.read(text, environ)

    @classmethod
    def read(cls, text: str, environ: Mapping[str, str] | None = None) -> "Settings":
        """As :meth:`load`, from the text of the file."""
        try:
            tree = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            at = re.search(r"at line (\d+), column \d+|at end of document", str(error))
            where = f"line {at[1]}" if at and at[1] else "its end"
            raise Misconfigured(
                f"{FILE_NAME} is not TOML: look at {where}.", "Compare configs/node.example.toml."
            ) from None
        except RecursionError:
            raise Misconfigured(f"{FILE_NAME} is not TOML.", "Compare configs/node.example.toml.") from None
        _overrule(tree, environ or {})
        for path in _unknown(tree, cls, ()):
            raise Misconfigured(f"{path} is not a setting.", "Compare configs/node.example.toml.")
        try:
            settings = msgspec.convert(tree, cls)
        except msgspec.ValidationError as error:
            raise _wrong(str(error)) from None
        _check(settings)
        return settings

    @classmethod
    def first(
        cls,
        node: Node,
        *,
        port: int,
        host: str = "",
        passphrase_file: str = "",
    ) -> "Settings":
        """The settings with which a new node starts: what follows from its url is written out.

        Raises Misconfigured as :meth:`load` does.
        """
        parts = _split(node.url)
        here = parts is not None and is_loopback(parts.hostname or "")
        tls: Literal["own", "off"] = "off" if here and parts is not None and parts.scheme == "http" else "own"
        return cls.read(
            render(
                cls(
                    node=node,
                    listen=Listen(host=host, port=port, tls=tls),
                    keys=Keys(passphrase_file=passphrase_file),
                    delivery=Delivery(allow_loopback=here),
                )
            )
        )

    @property
    def bind_host(self) -> str:
        """The address to bind: as set, or what follows from the url."""
        if self.listen.host:
            return self.listen.host
        host = urlsplit(self.node.url).hostname or ""
        return ("::1" if ":" in host else "127.0.0.1") if is_loopback(host) else "0.0.0.0"  # noqa: S104  # partners come from everywhere

    def warnings(self) -> tuple[str, ...]:
        """What is allowed but should be known: one sentence each."""
        found = []
        parts = urlsplit(self.node.url)
        if parts.scheme == "http":
            found.append("The url is plain http: only nodes on this machine can be partners.")
        elif is_loopback(parts.hostname or ""):
            found.append("The url is on loopback: only nodes on this machine can be partners.")
        if self.listen.tls == "off" and parts.scheme == "https":
            found.append("TLS is off: a proxy in front of this node must provide it.")
        if self.listen.tls == "off" and not is_loopback(self.bind_host):
            found.append(
                "TLS is off and the node listens beyond this machine: tokens could be read on the way."
            )
        if self.listen.metrics == "all":
            found.append("Everybody who reaches the port may read how many alerts pass between which nodes.")
        if self.mail.host and not (self.mail.to and "@" in self.mail.sender):
            found.append("A mail server is set, and no sender or duty inbox: no mails are sent.")
        if not self.node.contact.telephone:
            found.append("No duty desk is set, so partners have no number to ring: give node.contact a desk, telephone and hours.")
        return tuple(found)


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this machine by its very name."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def render(settings: Settings) -> str:
    """The text of node.toml: what differs from the defaults, each with its sentence. `Settings.read` gives it back."""
    lines = [
        "# The settings of this node. What is not here has its default: see configs/node.example.toml.",
        *_sections(settings, Settings, (), everything=False),
    ]
    return "\n".join(lines) + "\n"


def example() -> str:
    """The text of configs/node.example.toml: every setting with its default and its sentence."""
    settings = Settings(
        node=Node(
            id="kent-mash",
            name="Kent MASH",
            agency="MASH",
            areas=("E10000016",),
            functions=("MASH", "LA_ASC"),
            url="https://bridge.kent.example:8443",
        )
    )
    lines = [
        "# Every setting of a node, with its default and one sentence. A node needs [node] alone; `bridge init` writes it.",
        "# Any of them can be overruled by the environment: BRIDGE_SECTION__KEY, for example BRIDGE_LISTEN__PORT=9443;",
        "# lists with commas between, tables by a further __, for example BRIDGE_RETENTION__DAYS__ADOPTED=14.",
        *_sections(settings, Settings, (), everything=True),
    ]
    return "\n".join(lines) + "\n"


_fields = functools.cache(msgspec.structs.fields)
_plain_hints = functools.cache(typing.get_type_hints)


@functools.cache
def _hints(kind: type) -> Mapping[str, Any]:
    """The types of a section's settings, with what they are annotated with: slow to find, and always the same."""
    return typing.get_type_hints(kind, include_extras=True)


def explain(settings: Settings, directory: Path, environ: Mapping[str, str]) -> list[tuple[str, str, str, str, str]]:
    """Every setting as (section, key, value, where it comes from, its sentence), in the order of the example."""
    try:
        written = tomllib.loads((directory / FILE_NAME).read_text("utf-8"))
    except (OSError, ValueError):
        written = {}
    return list(_explained(settings, Settings, (), written, environ))


def _explained(
    value: msgspec.Struct, kind: type, path: tuple[str, ...], written: Any, environ: Mapping[str, str]
) -> Iterator[tuple[str, str, str, str, str]]:
    hints = _hints(kind)
    tables = []
    for field in _fields(kind):
        item = getattr(value, field.name)
        below = written.get(field.name) if isinstance(written, dict) else None
        if isinstance(item, msgspec.Struct):
            tables.append((field.name, item, below))
            continue
        name = PREFIX + "__".join((*path, field.name)).upper()
        said = any(key == name or key.startswith(f"{name}__") for key in environ)
        source = "environment" if said else "file" if below is not None else "default"
        yield ".".join(path), field.name, _toml(item).strip('"'), source, _sentence(hints[field.name])
    for name, item, below in tables:
        yield from _explained(item, type(item), (*path, name), below, environ)


def _sections(value: msgspec.Struct, kind: type, path: tuple[str, ...], *, everything: bool) -> Iterator[str]:
    own, tables = [], []
    hints = _hints(kind)
    for field in _fields(kind):
        item = getattr(value, field.name)
        if isinstance(item, msgspec.Struct):
            tables.append((field.name, item))
        elif everything or field.required or item != _default(field):
            own += [f"# {_sentence(hints[field.name])}", f"{field.name} = {_toml(item)}"]
    if own or (everything and path):
        yield ""
        if everything and kind.__doc__:
            yield from (f"# {line.strip()}" for line in kind.__doc__.strip().splitlines())
        yield f"[{'.'.join(path)}]"
        yield from own
    for name, item in tables:
        yield from _sections(item, type(item), (*path, name), everything=everything)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default_factory() if field.default is msgspec.NODEFAULT else field.default


def _sentence(hint: Any) -> str:
    for meta in getattr(hint, "__metadata__", ()):
        if isinstance(meta, Meta) and meta.description:
            return meta.description
    raise TypeError("a setting has no sentence")


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value)
        case str():
            # JSON's escapes are TOML's, but TOML wants DEL escaped too.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case tuple():
            return f"[{', '.join(_toml(item) for item in value)}]"
        case dict():
            inside = ", ".join(f"{json.dumps(str(key))} = {_toml(item)}" for key, item in value.items())
            return f"{{ {inside} }}" if inside else "{}"
        case _:
            raise TypeError("no form in TOML is known for this type")


def _bare(hint: Any) -> Any:
    """The type without its annotations."""
    while hasattr(hint, "__metadata__"):
        hint = hint.__origin__
    return hint


def _unknown(tree: Mapping[str, Any], kind: type, path: tuple[str, ...]) -> Iterator[str]:
    hints = _plain_hints(kind)
    for key, value in tree.items():
        if key not in hints:
            # A key of the operator's own file; shown cut and without anything that could move a cursor.
            yield ".".join((*path, "".join(c for c in key[:40] if c.isprintable())))
        elif (
            isinstance(hints[key], type)
            and issubclass(hints[key], msgspec.Struct)
            and isinstance(value, dict)
        ):
            yield from _unknown(value, hints[key], (*path, key))


def _overrule(tree: dict[str, Any], environ: Mapping[str, str]) -> None:
    for name in sorted(environ):
        if not name.startswith(PREFIX) or "__" not in name:
            continue
        path = name.removeprefix(PREFIX).split("__")
        kind: Any = Settings
        table: Any = tree
        for position, part in enumerate(path):
            plain: Any = _bare(kind)
            if isinstance(plain, type) and issubclass(plain, msgspec.Struct):
                key, hints = part.lower(), typing.get_type_hints(plain, include_extras=True)
                kind = hints.get(key)
            elif typing.get_origin(plain) is dict:
                key, kind = part, typing.get_args(plain)[1]
            else:
                kind = None
            if kind is None or not isinstance(table, dict):
                raise Misconfigured(f"The environment variable {_shown(name)} names no setting.", "Unset it.")
            if position < len(path) - 1:
                table = table.setdefault(key, {})
        bare = _bare(kind)
        if typing.get_origin(bare) is dict or (isinstance(bare, type) and issubclass(bare, msgspec.Struct)):
            raise Misconfigured(
                f"The environment variable {_shown(name)} names a whole table.", "Add the key to it."
            )
        value: Any = environ[name]
        if typing.get_origin(bare) is tuple:
            value = [part.strip() for part in value.split(",") if part.strip()]
        try:
            table[key] = msgspec.to_builtins(msgspec.convert(value, kind, strict=False))
        except msgspec.ValidationError as error:
            raise _wrong(str(error), f"The environment variable {_shown(name)}") from None


def _shown(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "?", name)[:80]


def _wrong(told: str, what: str = "") -> Misconfigured:
    """What msgspec found, without the value: its texts name types and bounds, but quote enumerated values."""
    expected, _, place = told.partition(" - at `$")
    path = re.sub(r"\[\.\.\.\]", "", place.rstrip("`")).lstrip(".")
    missing = re.fullmatch(r"Object missing required field `(\w+)`", expected)
    if missing:
        where = f"{path}.{missing[1]}" if path else missing[1]
        return Misconfigured(f"{where} is missing from {FILE_NAME}.", "Compare configs/node.example.toml.")
    kind = re.match(r"Expected (.*?)(, got .*)?$", expected)
    hint = f"Expected {kind[1]}." if kind and "matching regex" not in kind[1] else "See its sentence there."
    return Misconfigured(
        f"{what or path or 'The file'} has a value that is not allowed.",
        f"{hint} Compare configs/node.example.toml.",
    )


def _split(url: str) -> SplitResult | None:
    """The parts of a url, or None if it is not one of a node."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises ValueError when it is not a number of a port
    except ValueError:
        return None
    odd = parts.username or parts.password or parts.query or parts.fragment or parts.path not in ("", "/")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0 or odd:
        return None
    return parts if url.isprintable() and " " not in url else None


def _check(settings: Settings) -> None:
    """What no single value shows."""
    node, listen, delivery, limits = settings.node, settings.listen, settings.delivery, settings.limits
    parts = _split(node.url)
    if parts is None:
        raise Misconfigured(
            "node.url is not the address of a node.", "For example https://bridge.example.gov.uk:8443."
        )
    here = is_loopback(parts.hostname or "")
    if parts.scheme == "http" and not here:
        raise Misconfigured(
            "node.url must be https.", "Plain http is allowed on this machine alone, for trials."
        )
    if parts.scheme == "http" and listen.tls != "off":
        raise Misconfigured(
            "node.url is http but listen.tls is not off.", 'Use an https url, or listen.tls = "off".'
        )
    contact = (node.contact.desk, node.contact.telephone, node.contact.hours)
    if any(contact) and not all(contact):
        raise Misconfigured(
            "node.contact is not complete.", "Give desk, telephone and hours, or none of them."
        )
    if node.contact.telephone and not re.fullmatch(r"\+?[0-9][0-9 ()-]{2,30}", node.contact.telephone):
        raise Misconfigured("node.contact.telephone is not a telephone number.", "For example 01622 000000.")
    if listen.tls == "files" and not (listen.cert_file and listen.key_file):
        raise Misconfigured(
            'listen.tls is "files" but a file is not named.', "Set listen.cert_file and listen.key_file."
        )
    said = settings.sign_in
    if said.issuer and not (said.client_id and (said.secret_file or said.key_file)):
        raise Misconfigured(
            "sign_in.issuer is set, but not how this node proves itself to it.",
            "Set sign_in.client_id, and sign_in.key_file or sign_in.secret_file.",
        )
    if not settings.keys.passphrase_file and not settings.keys.key_file:
        raise Misconfigured(
            "Nothing is named that opens the keystore.", "Set keys.passphrase_file or keys.key_file."
        )
    for low, high in (
        ("urgent_first", "urgent_max"),
        ("routine_first", "routine_max"),
        ("connect_timeout", "total_timeout"),
    ):
        if getattr(delivery, low) > getattr(delivery, high):
            raise Misconfigured(f"delivery.{low} is longer than delivery.{high}.", "Make it shorter.")
    for network in settings.webhooks.networks:
        try:
            ip_network(network)
        except ValueError:
            raise Misconfigured(
                "webhooks.networks holds what is no network.", 'For example "10.20.0.0/16", without bits behind the mask.'
            ) from None
    drop = settings.folder
    if drop.path and not drop.key and not drop.plain_out:
        raise Misconfigured(
            "folder.path is set, but not how what waits there is protected.",
            "Set folder.key to the system's age key; or folder.plain_out, if the folder itself is encrypted.",
        )
    if drop.team and vocabulary.function(drop.team) not in {vocabulary.function(each) for each in node.functions}:
        raise Misconfigured("folder.team is none of node.functions.", "Use one of them, or leave it out.")
    if limits.page > limits.page_max:
        raise Misconfigured("limits.page is more than limits.page_max.", "Make it smaller.")
    for code in (node.agency, *node.functions):
        if code not in vocabulary.FUNCTION.codes:
            raise Misconfigured(
                "node.agency or node.functions holds a code that is not known.", "See docs/glossary.md."
            )
    for path, table in (
        ("retention.days", settings.retention.days),
        *((f"retention.areas.{area}", days) for area, days in settings.retention.areas.items()),
    ):
        for name, days in table.items():
            known = vocabulary.retention_class(name)
            if known is None or known.days is None:
                raise Misconfigured(f"{path} names a class that cannot be set.", "See docs/glossary.md.")
            if known.ceiling_days is not None and days > known.ceiling_days:
                raise Misconfigured(f"{path}.{known.code} is above {known.ceiling_days} days.", "Make it smaller.")
