"""The postcode directory of a node: reads any vintage of ONSPD or NSPL, keeps a small table, answers from it.

The rule kept here: the old table stays until a whole, checked new one can take its place. The table holds no
personal data. Northern Ireland (BT) is left out: its postcodes come under another licence (`docs/areas.md`).
"""

import contextlib
import csv
import functools
import hashlib
import os
import re
import sys
import zipfile
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import IO

import msgspec

from bridge import files
from bridge.areas import FULL_POSTCODE, GSS, Found, Gazetteer
from bridge.errors import Misconfigured, Rejected, Unavailable

Progress = Callable[[int, int, int], None]
"""Called about once a mebibyte with rows read, bytes read, and bytes in all."""

FILE_NAME = "areas.dat"
"""The table's usual name under the node's directory."""

STALE_AFTER_DAYS = 365

_MAGIC = b"BRIDGE postcodes 1\n"
_CHUNK = 1 << 20
_LONGEST_LINE = 1 << 16
_MOST_BYTES = 8 << 30  # a directory is about 1.3 GB; two copies of it travel in one zip
_MOST_RATIO = 100  # directories compress about 7 to 1; a bomb 1,000 to 1
_MOST_MEMBERS = 10_000
_MOST_SECTORS = 40_000  # about 12,000 exist
_MOST_CODES = 1_000  # left out for one reason or another; a directory has about ten such codes
_BLOCKS = 6
_MOST_TABLE = 64 << 20
_WHOLE = 1_000_000
"""Live postcodes from which shares are counted from the table. Great Britain has about 1.7 million; a smaller table
is a part, whose few postcodes of a sector say nothing about the rest: it answers for the postcodes it lists alone."""
_LETTERS = "ABDEFGHJLNPQRSTUWXYZ"  # of the last two places (BS 7666: not C I K M O V)
_UNITS = {a + b: i * 20 + j for i, a in enumerate(_LETTERS) for j, b in enumerate(_LETTERS)}
_SLOTS = 400
_BITMAP = _SLOTS // 8
_ENDED = 0x8000

_COLUMNS: dict[str, tuple[re.Pattern[str], ...]] = {
    "postcode": tuple(re.compile(p) for p in ("pcds", "pcd8|pcd2", "pcd7|pcd")),
    "district": (re.compile(r"(os)?laua|lad\d\dcd"),),
    "ended": (re.compile("doterm"),),
    "begun": (re.compile("dointr"),),
}
"""Names of a column over the years, after lower-casing and stripping the BOM; the first pattern that fits wins."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_VINTAGE = re.compile(
    rf"(?<![a-z])(?P<m1>{'|'.join(_MONTHS)})[a-z]*[^a-z0-9]*(?P<y1>20\d\d)"
    rf"|(?P<y2>20\d\d)[^a-z0-9]*(?P<m2>{'|'.join(_MONTHS)})",
    re.IGNORECASE,
)

_BT = "Northern Ireland (BT): these postcodes come under another licence"
_ISLANDS = "Channel Islands and Isle of Man: outside the United Kingdom"
_NO_DISTRICT = "no district is given for the postcode"
_BAD_CODE = "the district code is not one letter and eight digits"
_UNKNOWN = "the district code is not known to this version of bridge"


class Replaced(msgspec.Struct, frozen=True):
    """A retired district code found in the file: how many postcodes carry it, and what stands for it now."""

    code: str
    name: str
    successors: tuple[str, ...]
    postcodes: int


class ImportReport(msgspec.Struct, frozen=True):
    """What an import read, kept and left out. `vintage` is "" when neither name nor content tells it."""

    vintage: str
    sha256: str
    rows: int
    live: int
    ended: int
    malformed: int
    conflicting: int
    districts: int
    sectors: int
    bytes_written: int
    excluded: dict[str, int]
    retired: tuple[Replaced, ...]
    unknown: dict[str, int]
    warnings: tuple[str, ...]


class TableInfo(msgspec.Struct, frozen=True):
    """The head of a table file: what it was made from. `month` is "YYYY-MM", "" when the vintage is unknown."""

    vintage: str
    month: str
    source_sha256: str
    rows: int
    live: int
    ended: int
    whole: bool
    districts: tuple[str, ...]
    sizes: tuple[int, ...]
    payload_sha256: str


def _refused(sentence: str, hint: str = "The postcodes known before stay in use.") -> Rejected:
    return Rejected("malformed", sentence, hint)


# --- Reading a directory -----------------------------------------------------------------------------------------


class _Part(msgspec.Struct, frozen=True):
    """One CSV to read: how to open it, its size, and its name for telling the vintage."""

    name: str
    size: int
    open: Callable[[], IO[bytes]]


class _Meter:
    """Counts bytes and rows over all parts, hashes what is read, and tells `progress`."""

    def __init__(self, total: int, progress: Progress | None) -> None:
        self.total = total
        self.done = 0
        self.rows = 0
        self._progress = progress

    def add(self, count: int) -> None:
        self.done += count
        if self.done > _MOST_BYTES:
            raise _refused("The file is far larger than a postcode directory.")
        if self._progress is not None:
            self._progress(self.rows, self.done, self.total)


class _Lines:
    """Lines of a part in bounded memory. `cut` tells afterwards whether the last line lacked its end."""

    def __init__(self, stream: IO[bytes], meter: _Meter) -> None:
        self._stream = stream
        self._meter = meter
        self.cut = False

    def __iter__(self) -> Iterator[str]:
        rest = b""
        first = True
        while chunk := self._stream.read(_CHUNK):
            if first:
                first = False
                if chunk.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in chunk[:4096]:
                    raise _refused("The file is not a CSV in UTF-8.")
                chunk = chunk.removeprefix(b"\xef\xbb\xbf")
            head, newline, tail = (rest + chunk).rpartition(b"\n")
            if len(tail) > _LONGEST_LINE:
                raise _refused("The file is not a CSV: a line in it has no end.")
            rest = tail
            if newline:
                yield from head.decode("utf-8", "replace").split("\n")
            self._meter.add(len(chunk))
        if rest.strip(b"\r\n\x1a "):
            self.cut = True
            yield rest.decode("utf-8", "replace")


def columns(header: list[str]) -> dict[str, int]:
    """Which column of a directory is which, by the names it has had over the years.

    Raises Rejected when there is no postcode or no district column, two district columns, or a property reference:
    then this is some other lookup table.
    """
    names = [name.strip().lstrip("\ufeff").strip('"').lower() for name in header]
    found: dict[str, int] = {}
    for what, patterns in _COLUMNS.items():
        for pattern in patterns:
            at = [i for i, name in enumerate(names) if pattern.fullmatch(name)]
            if len(at) > 1:
                raise _refused(f"The file has two columns that could be the {what}.")
            if at:
                found[what] = at[0]
                break
    if "uprn" in names:
        raise _refused("This is a table of properties (UPRN), not of postcodes.", _WANTED)
    for what, called in (("postcode", "pcds"), ("district", "oslaua, laua or ladNNcd")):
        if what not in found:
            raise _refused(f"The file has no {what} column ({called}).", _WANTED)
    return found


_WANTED = "Give the ONS Postcode Directory or the National Statistics Postcode Lookup, as CSV or zip."


def _parts(source: Path) -> tuple[list[_Part], zipfile.ZipFile | None]:
    """The CSVs to read: the file itself, or of a zip the one whole directory, else its split copy."""
    with source.open("rb") as opened:
        zipped = opened.read(4) == b"PK\x03\x04"
    if not zipped:
        return [_Part(source.name, source.stat().st_size, functools.partial(_open, source))], None
    archive = zipfile.ZipFile(source)
    members = archive.infolist()
    if len(members) > _MOST_MEMBERS:
        archive.close()
        raise _refused("The zip has far more files than a postcode directory.")
    wanted = [m for m in members if m.filename.lower().endswith(".csv") and _is_directory(archive, m)]
    split = [m for m in wanted if "multi_csv" in m.filename.lower()]
    whole = sorted((m for m in wanted if m not in split), key=lambda m: -m.file_size)[:1]
    chosen = whole or sorted(split, key=lambda m: m.filename)
    if not chosen:
        archive.close()
        raise _refused("The zip holds no CSV with postcodes and districts.", _WANTED)
    return [_Part(m.filename, m.file_size, functools.partial(archive.open, m)) for m in chosen], archive


def _open(source: Path) -> IO[bytes]:
    return source.open("rb")


def _is_directory(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    """Whether a member's first line is a directory's header. Refuses a member that would swell beyond reason."""
    if (
        member.file_size > _MOST_BYTES
        or member.file_size > _MOST_RATIO * max(member.compress_size, 1) + _CHUNK
    ):
        raise _refused("The zip would unpack to far more than a postcode directory.")
    with archive.open(member) as opened:
        line = opened.readline(_LONGEST_LINE).decode("utf-8-sig", "replace")
    try:
        columns(next(csv.reader([line]), []))
    except Rejected:
        return False
    return True


class _Builder:
    """Collects rows into sectors of 400 slots each: bounded memory whatever the order or number of rows."""

    def __init__(self, gazetteer: Gazetteer, on: date) -> None:
        self.gazetteer = gazetteer
        self.on = on
        self.sectors: dict[str, array[int]] = {}  # "DA15" for DA1 5: outward code and the inward digit
        self.districts: list[str] = []
        self._kinds: dict[str, int] = {}  # district code -> its number from 1, or 0 for one left out
        self.reasons: dict[str, str] = {}  # code left out -> why
        self.counts: dict[str, int] = {}
        self.malformed = 0
        self.conflicting = 0
        self.newest = ""

    def read(self, lines: _Lines, meter: _Meter) -> None:
        """Take in one CSV. Raises Rejected when it is not a directory or ends in the middle of a row."""
        reader = csv.reader(iter(lines))
        header = next(reader, None)
        if header is None:
            raise _refused("The file is empty.", _WANTED)
        at = columns(header)
        width = len(header)
        postcode_at, district_at, ended_at, begun_at = (
            at["postcode"],
            at["district"],
            at.get("ended", -1),
            at.get("begun", -1),
        )
        last: list[str] = []
        kinds, counts, sectors = self._kinds, self.counts, self.sectors
        for row in reader:
            if not row:
                continue
            meter.rows += 1
            last = row
            if len(row) != width:
                self.malformed += 1
                continue
            if begun_at >= 0 and row[begun_at] > self.newest:
                self.newest = row[begun_at]
            code = row[district_at].strip()
            number = kinds.get(code)
            if number is None:
                number = self._new_code(code)
            counts[code] += 1
            if number == 0:
                continue
            tight = row[postcode_at].replace(" ", "")
            slots, unit = sectors.get(tight[:-2]), _UNITS.get(tight[-2:], -1)
            if slots is None or unit < 0:
                tight = tight.upper()
                slots = self._new_sector(tight)
                if slots is None:
                    self.malformed += 1
                    continue
                unit = _UNITS[tight[-2:]]
            held = slots[unit]
            if ended_at < 0 or not row[ended_at].strip():
                if 0 < held < _ENDED and held != number:
                    self.conflicting += 1
                slots[unit] = number
            elif held == 0:  # a postcode in use again stands twice; the live row counts
                slots[unit] = number | _ENDED
        if lines.cut and len(last) != width:
            raise _refused("The file ends in the middle of a row: it is not complete.")

    def _new_sector(self, tight: str) -> "array[int] | None":
        """The slots of a postcode's sector, made on first sight; None for what is no postcode of Great Britain."""
        if FULL_POSTCODE.fullmatch(tight) is None or tight.startswith("BT"):
            return None
        if len(self.sectors) >= _MOST_SECTORS:
            raise _refused("The file has far more postcodes than exist.")
        return self.sectors.setdefault(tight[:-2], array("H", bytes(2 * _SLOTS)))

    def _new_code(self, code: str) -> int:
        self.counts[code] = 0
        number = self._kinds[code] = self._kind(code)
        return number

    def _kind(self, code: str) -> int:
        """The number under which a district's postcodes are kept, 0 when they are left out."""
        why = ""
        if code in ("", "E99999999", "W99999999", "S99999999"):
            why = _NO_DISTRICT
        elif code in ("L99999999", "M99999999"):
            why = _ISLANDS
        elif not GSS.fullmatch(code) or code[0] == "K":
            why = _BAD_CODE
        elif code[0] == "N":
            why = _BT
        elif not self.gazetteer.successors(code, self.on):
            why = _UNKNOWN
        if why:
            self.reasons[code] = why
            if len(self.reasons) > _MOST_CODES:
                raise _refused("The district column holds something other than district codes.", _WANTED)
            return 0
        self.districts.append(code)
        return len(self.districts)


def import_directory(
    source: Path,
    target: Path,
    gazetteer: Gazetteer,
    on: date,
    *,
    progress: Progress | None = None,
    vintage: str = "",
    allow_smaller: bool = False,
    whole_from: int = _WHOLE,
) -> ImportReport:
    """Read a directory (CSV, or the zip as published) and put its table in the place of `target`, all or nothing.

    `vintage` ("May 2026") overrides what name and content tell. Refuses a directory with less than half of the
    postcodes now known, unless `allow_smaller`. Blocking; takes about 15 s for the whole country.

    Raises Rejected, with one sentence for people, for a file that is not a whole directory, and Unavailable when
    the table cannot be written. In both cases the old table is untouched.
    """
    archive: zipfile.ZipFile | None = None
    try:
        parts, archive = _parts(source)
        meter = _Meter(sum(part.size for part in parts), progress)
        if meter.total > _MOST_BYTES:
            raise _refused("The file is far larger than a postcode directory.")
        builder = _Builder(gazetteer, on)
        for part in parts:
            with part.open() as stream:
                builder.read(_Lines(stream, meter), meter)
        digest = _sha256(source)
    except FileNotFoundError:
        raise Rejected("not-found", "There is no such file.") from None
    except (zipfile.BadZipFile, zlib.error, EOFError):
        raise _refused("The zip is damaged or not complete.") from None
    except (RuntimeError, NotImplementedError):  # zipfile's words for a password, or an unusual compression
        raise _refused("The zip is locked with a password or packed in an unusual way.") from None
    except csv.Error:
        raise _refused("The file is not a well-formed CSV.") from None
    except OSError:
        raise Rejected(
            "malformed", "The file cannot be read.", "Is it a file, and may this user read it?"
        ) from None
    finally:
        if archive is not None:
            archive.close()
    names = (source.name, *(part.name for part in parts))
    month = _vintage(vintage, names, builder.newest)
    return _kept(
        builder, meter.rows, digest, month, target, allow_smaller=allow_smaller, whole_from=whole_from
    )


def _kept(
    builder: _Builder,
    rows: int,
    digest: str,
    month: str,
    target: Path,
    *,
    allow_smaller: bool,
    whole_from: int,
) -> ImportReport:
    """Check what was read as a whole, write the table, and report."""
    gazetteer, on = builder.gazetteer, builder.on
    if builder.malformed * 20 > rows:
        raise _refused("More than one row in twenty is not a postcode with its district.", _WANTED)
    if not builder.sectors:
        raise _refused("The file holds no postcode of Great Britain with a known district.", _WANTED)
    payload, sizes, live, ended = _packed(builder)
    warnings = []
    if lost := _lost(builder, live, target):
        if not allow_smaller:
            raise _refused(lost, "Is it the whole directory? The postcodes known before stay in use.")
        warnings.append(lost)
    compressed = zlib.compress(payload, 6)
    info = TableInfo(
        _label(month),
        month,
        digest,
        rows,
        live,
        ended,
        live >= whole_from,
        tuple(builder.districts),
        sizes,
        hashlib.sha256(compressed).hexdigest(),
    )
    warnings += filter(None, (_stale(info.month, on), _part_only(builder)))
    if builder.conflicting:
        warnings.append(
            f"{builder.conflicting} postcodes stand in the file under two districts; the last was kept."
        )
    head = msgspec.json.encode(info)
    written = _MAGIC + len(head).to_bytes(4, "big") + head + compressed
    _swap(target, written)
    retired = []
    for code in builder.districts:
        if gazetteer.area(code) is None:
            follows = tuple(area.code for area, _ in gazetteer.successors(code, on))
            retired.append(Replaced(code, gazetteer.former_name(code), follows, builder.counts[code]))
    excluded: dict[str, int] = {}
    for code, why in builder.reasons.items():
        excluded[why] = excluded.get(why, 0) + builder.counts[code]
    unknown = {c: builder.counts[c] for c, why in sorted(builder.reasons.items()) if why == _UNKNOWN}
    if unknown:
        warnings.append(
            "Some district codes are newer than this version of bridge; their postcodes are left out."
        )
    return ImportReport(
        info.vintage,
        digest,
        rows,
        live,
        ended,
        builder.malformed,
        builder.conflicting,
        len(builder.districts),
        len(builder.sectors),
        len(written),
        excluded,
        tuple(sorted(retired, key=lambda r: r.code)),
        unknown,
        tuple(warnings),
    )


def _packed(builder: _Builder) -> tuple[bytes, tuple[int, ...], int, int]:
    """Sectors, a bitmap of the live and of the ended postcodes of each, and runs of one district within each."""
    names: list[str] = []
    live_bits, ended_bits = bytearray(), bytearray()
    offsets, starts, numbers = array("I", [0]), array("H"), array("H")
    live = ended = 0
    for key in sorted(builder.sectors, key=lambda k: f"{k[:-1]} {k[-1]}"):
        names.append(f"{key[:-1]} {key[-1]}")
        in_use = over = 0
        before = -1
        for unit, value in enumerate(builder.sectors[key]):
            if value == 0:
                continue
            if value & _ENDED:
                over |= 1 << unit
            else:
                in_use |= 1 << unit
            if (number := value & ~_ENDED) != before:
                starts.append(unit)
                numbers.append(number - 1)
                before = number
        offsets.append(len(starts))
        live += in_use.bit_count()
        ended += over.bit_count()
        live_bits += in_use.to_bytes(_BITMAP, "little")
        ended_bits += over.to_bytes(_BITMAP, "little")
    blocks = ["\n".join(names).encode("ascii"), bytes(live_bits), bytes(ended_bits)]
    blocks += [_little(numbers_) for numbers_ in (offsets, starts, numbers)]
    return b"".join(blocks), tuple(len(block) for block in blocks), live, ended


def _little(numbers: "array[int]") -> bytes:
    """An array's bytes in little-endian order, so that a table may move between machines."""
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _swap(target: Path, content: bytes) -> None:
    """Write beside the target, then rename over it: whoever reads sees the old table or the new one, never a part."""
    aside = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        for left_over in target.parent.glob(f"{target.name}.*.tmp"):  # of an import that was killed
            left_over.unlink(missing_ok=True)
        files.write(aside, content)
        aside.replace(target)
        files.sync_names(target.parent)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise Unavailable(
            "disk", "The postcode table could not be written.", "The postcodes known before stay in use."
        ) from None


def _sha256(source: Path) -> str:
    with source.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


# --- Vintage -------------------------------------------------------------------------------------------------------


def _vintage(given: str, names: tuple[str, ...], newest: str) -> str:
    """ "YYYY-MM": as given, else by the files' names, else by the newest postcode's month of introduction, else ""."""
    for text in filter(None, (given, *names)):
        if found := _VINTAGE.search(text):
            month = _MONTHS.index((found["m1"] or found["m2"]).lower()) + 1
            return f"{found['y1'] or found['y2']}-{month:02}"
        if text == given:
            raise Rejected("usage", "The vintage must be a month and a year, such as May 2026.")
    if re.fullmatch(r"20\d\d(0[1-9]|1[0-2])", newest):
        return f"{newest[:4]}-{newest[4:]}"
    return ""


def _label(month: str) -> str:
    """ "May 2026" for "2026-05"; "unknown" for ""."""
    return f"{date.fromisoformat(month + '-01'):%B %Y}" if month else "unknown"


def _stale(month: str, on: date) -> str:
    """A sentence when a directory is more than a year old or of no known date, else ""."""
    if not month:
        return "The vintage of the postcode directory is not known."
    made = date.fromisoformat(f"{month}-01")
    if (on - made).days > STALE_AFTER_DAYS:
        return f"The postcode directory is of {_label(month)}, more than a year old: import a newer one."
    if made > on:
        return f"The postcode directory is of {_label(month)}, which is still to come: check the clock and the file."
    return ""


def _present(codes: Iterable[str], gazetteer: Gazetteer, on: date) -> set[str]:
    return {area.code for code in codes for area, _ in gazetteer.successors(code, on)}


def _part_only(builder: _Builder) -> str:
    """A sentence when districts of Great Britain are missing, else ""."""
    wanted = [d.code for d in builder.gazetteer.areas("district") if not d.code.startswith("N")]
    missing = len(set(wanted) - _present(builder.districts, builder.gazetteer, builder.on))
    if missing:
        return f"{missing} of {len(wanted)} districts of Great Britain have no postcode in this file: is it a part?"
    return ""


def _lost(builder: _Builder, live: int, target: Path) -> str:
    """A sentence when the new table would know much less than the old one, else ""."""
    try:
        old = PostcodeTable.load(target)
    except Misconfigured:  # a damaged old table is no reason to refuse a good new one
        return ""
    if old is None:
        return ""
    if live * 2 < old.info.live:
        return "The file has less than half of the postcodes known now."
    gazetteer, on = builder.gazetteer, builder.on
    known = _present(old.info.districts, gazetteer, on)
    if gone := known - _present(builder.districts, gazetteer, on):
        return f"The file has no postcode for {len(gone)} of the {len(known)} districts known now."
    return ""


# --- Answering -----------------------------------------------------------------------------------------------------


class PostcodeTable:
    """An imported directory in memory (about 3 MB for the whole country). Immutable; safe to share."""

    __slots__ = ("_ended", "_live", "_numbers", "_offsets", "_sectors", "_starts", "info")

    def __init__(self, info: TableInfo, payload: bytes) -> None:
        self.info = info
        blocks = []
        at = 0
        for size in info.sizes:
            blocks.append(payload[at : at + size])
            at += size
        names, self._live, self._ended, offsets, starts, numbers = blocks
        self._sectors = names.decode("ascii").split("\n")
        self._offsets, self._starts, self._numbers = array("I"), array("H"), array("H")
        for numbers_, block in ((self._offsets, offsets), (self._starts, starts), (self._numbers, numbers)):
            numbers_.frombytes(block)
            if sys.byteorder == "big":
                numbers_.byteswap()

    @classmethod
    def load(cls, path: Path) -> "PostcodeTable | None":
        """The table at `path`, None when none was imported. Raises Misconfigured for a damaged or newer one."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError:
            raise Misconfigured("The postcode table cannot be read.", "Check its owner and mode.") from None
        try:
            return cls(*_opened(content))
        except (ValueError, zlib.error, msgspec.MsgspecError):
            raise Misconfigured(
                "The postcode table is damaged.",
                "Import the postcode directory again: bridge area import FILE.",
            ) from None

    @property
    def vintage(self) -> str:
        """Month and year of the directory, "unknown" when it could not be told."""
        return self.info.vintage

    def warning(self, on: date) -> str:
        """A sentence when the directory is more than a year old or of no known date, else ""."""
        return _stale(self.info.month, on)

    def find(self, postcode: str) -> Found | None:
        """The district of a full postcode; None when its sector does not exist.

        For a postcode that the directory does not list, the nearest lower neighbour's district, with `known` False.
        """
        tight = postcode.replace(" ", "").upper()
        if FULL_POSTCODE.fullmatch(tight) is None:
            return None
        sector = f"{tight[:-3]} {tight[-3]}"
        at = bisect_left(self._sectors, sector)
        if at == len(self._sectors) or self._sectors[at] != sector:
            return None
        unit = _UNITS[tight[-2:]]
        first, after = self._offsets[at], self._offsets[at + 1]
        run = max(bisect_right(self._starts, unit, first, after) - 1, first)
        place, bit = at * _BITMAP + unit // 8, 1 << unit % 8
        ended = bool(self._ended[place] & bit)
        known = ended or bool(self._live[place] & bit)
        return Found(self.info.districts[self._numbers[run]], known, ended)

    def shares(self, unit: str) -> tuple[tuple[str, int], ...]:
        """District codes with permille of the postcodes of an outward code or a sector, largest first.

        Live postcodes count; ended ones only where there are no others. Empty for a part that does not exist, and
        for a table that is not of the whole country.
        """
        if not self.info.whole:
            return ()
        spaced = " " in unit
        first = bisect_left(self._sectors, unit if spaced else f"{unit} ")
        after = bisect_right(self._sectors, unit if spaced else f"{unit} ~")
        for bitmaps in (self._live, self._ended):
            counts: dict[int, int] = {}
            for at in range(first, after):
                self._count(at, bitmaps, counts)
            if total := sum(counts.values()):
                ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
                return tuple(
                    (self.info.districts[number], max(count * 1000 // total, 1)) for number, count in ranked
                )
        return ()

    def _count(self, at: int, bitmaps: bytes, counts: dict[int, int]) -> None:
        """Add the marked postcodes of one sector to the counts by district."""
        bits = int.from_bytes(bitmaps[at * _BITMAP : (at + 1) * _BITMAP], "little")
        first, after = self._offsets[at], self._offsets[at + 1]
        for run in range(first, after):
            until = self._starts[run + 1] if run + 1 < after else _SLOTS
            marked = (bits >> self._starts[run]) & ((1 << (until - self._starts[run])) - 1)
            if count := marked.bit_count():
                number = self._numbers[run]
                counts[number] = counts.get(number, 0) + count


def _opened(content: bytes) -> tuple[TableInfo, bytes]:
    """Head and payload of a table file. Raises ValueError, zlib.error or MsgspecError for anything else."""
    head_at = len(_MAGIC) + 4
    if not content.startswith(_MAGIC):
        raise ValueError
    size = int.from_bytes(content[len(_MAGIC) : head_at], "big")
    info = msgspec.json.decode(content[head_at : head_at + size], type=TableInfo)
    compressed = content[head_at + size :]
    if hashlib.sha256(compressed).hexdigest() != info.payload_sha256 or sum(info.sizes) > _MOST_TABLE:
        raise ValueError
    payload = zlib.decompressobj().decompress(compressed, _MOST_TABLE)
    if len(payload) != sum(info.sizes) or len(info.sizes) != _BLOCKS:
        raise ValueError
    return info, payload
