"""How pages are made: the template engine, its filters, and the files that pages refer to.

Templates are compiled once and never read again while the node runs; every value is escaped. Files have a hash in
their address, so a browser may keep them for ever and never asks for an old one.
"""

import gzip
import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import lru_cache
from importlib import resources
from typing import Any, Final, NamedTuple

import jinja2
import msgspec
import segno
from markupsafe import Markup

from bridge.web import texts, words

BRAND: Final = "#155e63"
"""Our own colour, which scripts/vendor_assets compiles into the styles."""


class Asset(NamedTuple):
    """A file as it is served: its name with the hash in it, its bytes plain and compressed, its type."""

    name: str
    plain: bytes
    packed: bytes | None
    content_type: str


_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "webmanifest": "application/manifest+json"}


@lru_cache(maxsize=1)
def assets() -> Mapping[str, Asset]:
    """Every file that pages refer to, by the name that templates use: those fetched for us, and our own."""
    found: dict[str, Asset] = {}
    static = resources.files("bridge.web") / "static"
    manifest = msgspec.json.decode((static / "manifest.json").read_bytes(), type=dict[str, dict[str, str]])
    for name, row in manifest.items():
        found[name] = _asset(row["file"], name, (static / row["file"]).read_bytes())
    own = sorted((each for each in (resources.files("bridge.web") / "own").iterdir()), key=lambda each: each.name)
    # Scripts last: they import by plain names, which become the hashed ones here.
    for entry in sorted(own, key=lambda each: each.name.endswith(".js")):
        raw = entry.read_bytes()
        if entry.name.endswith(".js"):
            raw = re.sub(rb'"\./([a-z-]+\.js)"', lambda match: _imported(match, found), raw)
        digest = hashlib.sha256(raw).hexdigest()[:12]
        stem, _, kind = entry.name.rpartition(".")
        found[entry.name] = _asset(f"{stem}.{digest}.{kind}", entry.name, raw)
    return found


def _imported(match: re.Match[bytes], found: Mapping[str, Asset]) -> bytes:
    return b'"./' + found[match[1].decode()].name.encode() + b'"'


def _asset(name: str, logical: str, raw: bytes) -> Asset:
    packed = gzip.compress(raw, 9, mtime=0)
    kind = logical.rpartition(".")[2]
    return Asset(name, raw, packed if len(packed) < len(raw) else None, _TYPES[kind])


def address(name: str) -> str:
    """The address of a file by the name that templates use."""
    return f"/assets/{assets()[name].name}"


def qr(content: str, title: str, size: int = 4) -> Markup:
    """A QR code as SVG without style attributes; `title` says in words what it holds."""
    code = segno.make(content, error="m", micro=False)
    return Markup(  # noqa: S704  segno escapes the title, and writes nothing else that came from outside
        code.svg_inline(scale=size, border=2, title=title, svgclass="bridge-qr", lineclass=None, omitsize=False)
    )


_TURNING: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
"""Characters that turn the direction of what follows. None may leave the piece of text that it came with."""


def shown(value: Any) -> Any:
    """What is written for a value: texts lose what could turn the words around them."""
    if isinstance(value, str) and not value.isascii() and _TURNING.search(value):
        return type(value)(_TURNING.sub("", value))
    return value


@lru_cache(maxsize=1)
def environment() -> jinja2.Environment:
    """The engine with everything that every template may use, one for all nodes of a process: it knows none of them."""
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [
                jinja2.PackageLoader("bridge.web", "templates"),
                jinja2.PrefixLoader({"govuk_frontend_jinja": jinja2.PackageLoader("govuk_frontend_jinja")}),
            ]
        ),
        autoescape=True,
        auto_reload=False,
        cache_size=-1,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown,
        extensions=["jinja2.ext.i18n", "jinja2.ext.do"],
    )
    made.install_gettext_callables(  # type: ignore[attr-defined]  # made by the extension
        texts.spoken,
        texts.spoken_number,
        newstyle=True,
    )
    made.filters.update(
        day=words.day,
        clock=words.clock,
        moment=words.moment,
        deadline=words.deadline,
        lasting=words.lasting,
        listed=words.listed,
        functions=words.functions,
        capitalize_first=lambda text: f"{text[:1].upper()}{text[1:]}",
        spoken=lambda text: texts.spoken(text) if text else "",
    )
    made.globals.update(
        asset=address,
        drawn=drawn,
        brand=BRAND,
        label=words.label,
        percent=words.percent,
        qr=qr,
        recent=words.recent,
        several=texts.several,
        timedelta=timedelta,
    )
    return made


MOST_DRAWN: Final = 1024
_drawn: OrderedDict[tuple[str, str], Markup] = OrderedDict()


def drawn(macro: Callable[[Any], Markup], params: Any, keep: bool) -> Markup:
    """A component; one that is the same for everybody is drawn once and kept.

    `keep` is never set for one that holds what somebody typed: nothing of it stays in memory.
    """
    if not keep:
        return macro(params)
    key = macro.name, json.dumps(params)  # type: ignore[attr-defined]  # a macro has a name
    found = _drawn.get(key)
    if found is None:
        found = _drawn[key] = macro(params)
        if len(_drawn) > MOST_DRAWN:
            _drawn.popitem(last=False)
    else:
        _drawn.move_to_end(key)
    return found


_WARMING: Final = threading.Lock()
"""Held while templates are compiled, so that nodes that start together do not each compile them all."""


class Templates:
    """Renders pages. Compiling takes a while, so :meth:`warm` does it before the first visitor comes."""

    def __init__(self) -> None:
        self._environment = environment()

    def render(self, name: str, values: Mapping[str, Any]) -> str:
        """The page of a template."""
        return self._environment.get_template(name).render(values)

    def warm(self) -> int:
        """Compile every template of ours, and those of the components that they use; how many."""
        names = self._environment.list_templates(filter_func=lambda name: not name.startswith("govuk_frontend_jinja/"))
        with _WARMING:
            for name in names:
                self._environment.get_template(name)
        return len(names)
