"""NIEM's codes for suspicious activity, where what we know maps to one of them and nowhere else.

Source: NIEM code list `pmise_sar` (ISE functional standard SAR 1.5), SuspiciousActivityCodeSimpleType, 16 codes: read.
Most of ours have no counterpart there, and get none: a code that nearly fits would say something that nobody said.
"""

from typing import Final

from bridge.alerts import Alert

NAMESPACE: Final = "http://release.niem.gov/niem/codes/pmise_sar/4.0/"
ELEMENT: Final = "SuspiciousActivityCode"

CODES: Final = (
    "AVIATION", "CYBER", "ELICIT", "EXPERT", "INTRSN", "MATRLS", "MISREP", "PHOTO", "RECRUT", "SABOT", "SECTOR", "SURVL",
    "TESTSEC", "THEFT", "THREAT", "WPNS",
)  # fmt: skip
"""Every code of the list."""

OF_KIND: Final = {"recruitment_out_of_area": "RECRUT", "debt_or_threat": "THREAT"}
OF_HARM: Final = {"THREAT": "THREAT"}
OF_INDICATOR: Final = {"weapon": "WPNS"}


def codes(alert: Alert) -> tuple[str, ...]:
    """The codes that hold for an alert, in the order of the list; often none."""
    found = {
        table[code]
        for table, said in (
            (OF_KIND, alert.event.kinds),
            (OF_HARM, alert.event.harms),
            (OF_INDICATOR, alert.event.indicators),
        )
        for code in said
        if code in table
    }
    return tuple(code for code in CODES if code in found)
