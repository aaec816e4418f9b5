"""HTML for print: one self-contained page an alert, without script, style sheet or anything else from outside."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from bridge import vocabulary
from bridge.alerts import Subject
from bridge.formats.form import Copy, Format, Records, binding, day, moment
from bridge.formats.people import names

_STYLE: Final = """
@page { size: A4; margin: 18mm 16mm 20mm; @bottom-right { content: "page " counter(page) " of " counter(pages) } }
body { font: 11pt/1.4 Helvetica, Arial, "Liberation Sans", "DejaVu Sans", sans-serif; color: #0b0c0c; margin: 1.5em auto;
  max-width: 48em }
article { break-after: page } article:last-child { break-after: auto }
h1 { font-size: 18pt; margin: 0 0 .3em } h2 { font-size: 13pt; margin: 1.2em 0 .3em; break-after: avoid }
.binding { border: 2pt solid #0b0c0c; padding: .5em .8em; margin: 0 0 1em } .binding p { margin: .2em 0 }
.marking { font-weight: bold; text-align: center; margin: 0 0 .6em }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; vertical-align: top; padding: .25em .6em .25em 0;
  border-bottom: .5pt solid #b1b4b6 } th { width: 11em; font-weight: bold } tr { break-inside: avoid }
.words { white-space: pre-wrap; overflow-wrap: anywhere } td { overflow-wrap: anywhere }
"""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def render(copies: Sequence[Copy]) -> bytes:
    """A document that is printed as it stands; what binds the reader comes first on every alert."""
    title = copies[0].reference if len(copies) == 1 else f"{len(copies)} alerts"
    return _document(title, (_alert(each) for each in copies))


def table(records: Records) -> bytes:
    """Each row as a list of names and values, as a profile made them."""
    sections = (_facts(zip(records.columns, row, strict=True)) for row in records.rows)
    return _document("Alerts", (f"<article>{section}</article>" for section in sections))


def _document(title: str, articles: Iterable[str]) -> bytes:
    head = (
        f'<!doctype html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">\n'
        f'<meta name="robots" content="noindex">\n<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n'
    )
    body = "".join(f"{each}\n" for each in articles)
    return f"{head}{body}</body>\n</html>\n".encode()


def _alert(copy: Copy) -> str:
    said, home, desk = copy.said, copy.home, copy.origin.desk
    event, place = said.event, said.event.place
    parts = [
        f'<p class="marking">{escape(copy.handling.marking)}</p>',
        f"<h1>Alert {escape(copy.reference)}</h1>",
        '<div class="binding">' + "".join(f"<p>{escape(each)}</p>" for each in binding(copy)) + "</div>",
        _facts(
            (
                ("From", copy.origin.name),
                (
                    "Ring",
                    ", ".join(part for part in (desk.telephone, desk.name, desk.hours) if part)
                    if desk
                    else "",
                ),
                (
                    "Reported by",
                    ", ".join(part for part in (said.reporter.role_title, said.reporter.site) if part),
                ),
                ("Received", moment(copy.received)),
                ("Priority", vocabulary.PRIORITY.label(said.priority)),
                ("Practice", "An exercise with invented people" if copy.status == "exercise" else ""),
                ("Home area", f"{home.name or ''} {home.code or ''}".strip() if home else ""),
                ("About", _labels("kind", event.kinds)),
                ("Harm feared", _labels("harm", event.harms)),
                ("Noticed", _labels("indicator", event.indicators)),
                ("Suspicious activity (NIEM)", ", ".join(copy.sar_codes)),
                (
                    "Seen",
                    " to ".join(
                        each for each in (moment(event.observed_from), moment(event.observed_to)) if each
                    ),
                ),
                (
                    "Where",
                    ", ".join(each for each in (place.text, place.postcode, place.district) if each)
                    if place
                    else "",
                ),
                ("How known", _label("how_known", said.grading.how_known)),
                ("Grading", vocabulary.admiralty(said.grading.source_eval, said.grading.info_assess)),
                ("Legal ground", _labels("gateway", said.legal.gateways)),
                ("Reasons", said.legal.reasons_text or ""),
                ("Also told", _labels("also_reported_to", said.local_action.also_reported_to)),
                ("Asked of you", _label("ask", said.ask)),
                ("By", day(said.by_when) if said.by_when else ""),
            )
        ),
    ]
    for number, person in enumerate(said.subjects, 1):
        parts += [f"<h2>Person {number}</h2>", _person(person)]
    for each in said.objects:
        only = f"Only for {', '.join(each.only_for)}" if each.only_for else ""
        parts.append(f"<h2>{escape(_label('object_kind', each.kind))}</h2>")
        parts.append(
            _facts(
                (
                    ("What", each.value or ""),
                    ("Words", each.description or ""),
                    ("Handling", each.handling or ""),
                    ("Who may see it", only),
                )
            )
        )
    if said.relations:
        parts.append("<h2>How they hang together</h2>")
        parts.append(
            _facts(
                (
                    f"{each.origin} and {each.to}",
                    f"{_label('relation_verb', each.verb)} ({each.certainty or 'certainty not said'})",
                )
                for each in said.relations
            )
        )
    if event.narrative:
        parts += ["<h2>What happened</h2>", f'<p class="words">{escape(event.narrative)}</p>']
    body = "\n".join(parts)
    return f"<article>\n{body}\n</article>"


def _person(person: Subject) -> str:
    return _facts(
        (
            ("Names", "; ".join(names(person))),
            ("Known here as", person.local_ref or ""),
            ("Born", str(person.dob or person.birth_year or "")),
            ("Age", _label("age_band", person.age_band)),
            ("Sex", _label("sex", person.sex)),
            ("Part in this", _labels("role", person.roles)),
            ("Vulnerable because", _labels("cohort", person.cohorts)),
            (
                "Numbers",
                "; ".join(
                    f"{_label('identifier_scheme', each.scheme)}: {each.value}" for each in person.identifiers
                ),
            ),
            ("Description", person.description or ""),
        )
    )


def _facts(pairs: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="words">{escape(value)}</td></tr>'
        for name, value in pairs
        if value
    )
    return f"<table>{rows}</table>"


def _label(table: str, code: str | None) -> str:
    return "" if code is None else vocabulary.TABLES[table].label(code)


def _labels(table: str, codes: Sequence[str]) -> str:
    return "; ".join(_label(table, code) for code in codes)


FORMAT = Format("html", "Page to print (HTML)", "text/html", "html", render, table)
