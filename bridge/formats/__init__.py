"""The formats in which received alerts leave a node: one table, one file each.

A format is a pure function of copies to bytes. Who may have a copy, what is withheld from it and that it is entered in
the copy register are decided before, in `bridge.nodes.export`.
"""

from collections.abc import Mapping
from typing import Final

from bridge.formats import cap, csv_, html_, json_, ndjson, pdf, sar, stix, xlsx
from bridge.formats.form import Copy, Format, Handling, Records, handling_of, missing

__all__ = ["FORMATS", "Copy", "Format", "Handling", "Records", "handling_of", "missing", "sar"]

FORMATS: Final[Mapping[str, Format]] = {
    each.name: each
    for each in (
        json_.FORMAT, ndjson.FORMAT, csv_.FORMAT, xlsx.FORMAT, stix.FORMAT, cap.FORMAT, html_.FORMAT, pdf.FORMAT,
    )
}  # fmt: skip
"""Every format by its name, in the order in which they are offered."""
