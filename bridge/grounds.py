"""On what ground an alert may be shared, proposed from who sends it, whom it is about and where it goes, in plain words.

A proposal and not law, as `bridge.vocabulary` says of each code; what a sender's own system names stands instead. The
words fit after "You may share this because".
"""

from typing import Final

import msgspec

from bridge import alerts, vocabulary
from bridge.vocabulary import HEALTH, POLICING

ENFORCING: Final = (*POLICING, "PRISON", "PROBATION")
"""Agencies whose work on this is law enforcement (Data Protection Act 2018 part 3)."""

SAFEGUARDING: Final = ("MASH", "LA_ASC", "LA_CSP", "YJS", *ENFORCING, *HEALTH)
"""Agencies taken to be under the duty of the Children Act 2004 section 11."""

OUTSIDE_PUBLIC_TASK: Final = ("HOUSING", "DRUG_ALCOHOL", "YOUTH_WORK", "VCS")

BECAUSE: Final = {
    "CA2004_11": "a child may be at risk, and your organisation must keep children safe (Children Act 2004, section 11).",
    "CDA_115": "it may help to prevent crime, and goes to a council, police force, probation or health service "
    "(Crime and Disorder Act 1998, section 115).",
    "UKGDPR_6_1_e": "protecting people is part of your organisation's public task (UK GDPR, article 6).",
    "UKGDPR_RLI": "safeguarding someone who is vulnerable, and preventing crime, are recognised interests "
    "(UK GDPR, article 6, as changed in 2025).",
    "DPA_P3_S8_P4": "your organisation enforces the law and protects children and adults at risk "
    "(Data Protection Act 2018, part 3 and schedule 8).",
    "SSAA_AUTHORITY": "your department's policy on crime and safeguarding is the authority that section 123 of the "
    "Social Security Administration Act 1992 asks for.",
    "CLDC_PUBLIC_INTEREST": "protecting someone from serious harm can weigh more than the duty of confidence.",
    "DPA_S1_P18": "you need not ask for consent where asking would put someone at risk or cannot be done "
    "(Data Protection Act 2018, schedule 1).",
    "SCOTS_LAW": "the law of Scotland allows it there as well; your data protection officer knows the ground.",
    "NI_LAW": "the law of Northern Ireland allows it there as well; your data protection officer knows the ground.",
}  # fmt: skip
"""What each ground that is proposed here says to a worker."""


class Ground(msgspec.Struct, frozen=True):
    """One ground: its code, and why, in words."""

    code: str
    because: str


class Grounds(msgspec.Struct, frozen=True):
    """What is proposed: grounds of sharing, conditions for special category data, and whether it is law enforcement."""

    gateways: tuple[Ground, ...]
    art9: tuple[Ground, ...]
    part3: bool

    @property
    def all(self) -> tuple[Ground, ...]:
        """Everything there is to say to the sender, in order."""
        return (*self.gateways, *self.art9)


def proposed(agency: str | None, *, child: bool, here: str | None, there: str | None) -> Grounds:
    """The grounds for an alert from `agency` about a child (or who may be one), or about nobody who is.

    `here` and `there` are the countries of sender and home area, as GSS code, letter or name; None where not known.
    """
    does = vocabulary.function(agency or "") or ""
    country, other = alerts.country(here), alerts.country(there)
    enforcing = does in ENFORCING
    wanted = [
        (child and does in SAFEGUARDING, "CA2004_11"),
        (enforcing, "DPA_P3_S8_P4"),
        (does == "JCP", "SSAA_AUTHORITY"),
        (does in HEALTH, "CLDC_PUBLIC_INTEREST"),
        (does in OUTSIDE_PUBLIC_TASK, "UKGDPR_RLI"),
        (not enforcing and does not in OUTSIDE_PUBLIC_TASK, "UKGDPR_6_1_e"),
        (True, "CDA_115"),
        (country == "Scotland" or other == "Scotland", "SCOTS_LAW"),
        (country == "Northern Ireland" or other == "Northern Ireland", "NI_LAW"),
    ]
    gateways = tuple(_ground(code) for when, code in wanted if when and _law(code, country))
    return Grounds(gateways, () if enforcing else (_ground("DPA_S1_P18"),), enforcing)


def _ground(code: str) -> Ground:
    return Ground(code, BECAUSE[code])


def _law(code: str, country: str | None) -> bool:
    """Whether the sender can rely on it where they are; an unknown country rules nothing out."""
    found = vocabulary.gateway(code)
    return found is not None and (country is None or country in found.jurisdictions or found.receiving)


def explained(codes: tuple[str, ...]) -> tuple[Ground, ...]:
    """Grounds that an alert already names, in words: ours, or what the vocabulary says of them."""
    found = []
    for code in codes:
        known = vocabulary.gateway(code)
        meaning = known.meaning if known else ""
        found.append(
            Ground(code, BECAUSE.get(code) or (meaning[:1].lower() + meaning[1:] if meaning else code))
        )
    return tuple(found)
