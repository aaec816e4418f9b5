"""The code lists of an alert, one table a list: code, label, meaning, since which version, and where it comes from.

Nothing here is law. Each source ends in how far it was checked: "read" (seen in the source named), "proposed" (our
own, made from what was read) or "unverified" (from memory: a data protection officer should confirm it before use).
A table may only grow: a code keeps its meaning for ever, and a receiver keeps codes that it does not know.
"""

import functools
import re
import unicodedata

from msgspec import Struct

VERSION = "1"
"""Version of all tables together; carried in an alert's `provenance.vocab_versions` as `bridge:1`."""

UK = ("England", "Wales", "Scotland", "Northern Ireland")
ENGLAND = ("England",)
ENGLAND_WALES = ("England", "Wales")
GREAT_BRITAIN = ("England", "Wales", "Scotland")

HEALTH = ("NHS_TRUST", "MH_TRUST", "AE", "GP", "SEXUAL_HEALTH", "AMBULANCE")
SOCIAL_CARE = ("MASH", "LA_ASC")
POLICING = ("POLICE", "BTP", "ROCU", "NCLCC", "NCA")


class Term(Struct, frozen=True, kw_only=True):
    """One code: what is stored, what a person reads, what it means, since which version, and where it comes from."""

    code: str
    label: str
    meaning: str
    source: str
    since: str = "1"


class Gateway(Term, frozen=True, kw_only=True):
    """A legal ground, condition or restriction: where it is law, who may use it, and who may not."""

    jurisdictions: tuple[str, ...]
    who: str  # in words, for the screen
    senders: tuple[str, ...] = ()  # agency codes that may rely on it; empty: not limited by agency
    not_for: tuple[str, ...] = ()  # agency codes whose information it does not cover
    receiving: bool = False  # a ground on the receiving side: the sender need not be where it is law


class RetentionClass(Term, frozen=True, kw_only=True):
    """How long content is kept. Defaults: a node's settings and an agreement may say otherwise, within the ceiling."""

    days: int | None  # None: until two people release it
    measured_from: str  # "observed", "sent", "acknowledged" or "release"
    ceiling_days: int | None  # the most, from the day it is sent, that any setting may allow


class Table(Struct, frozen=True, dict=True):
    """One code list, in the order in which a form shows it."""

    name: str
    title: str
    terms: tuple[Term, ...]

    @functools.cached_property
    def _by_code(self) -> dict[str, Term]:
        return {term.code: term for term in self.terms}

    def __contains__(self, code: object) -> bool:
        return code in self._by_code

    def get(self, code: str) -> Term | None:
        """The term of exactly this code, or None: an unknown code is kept, never an error."""
        return self._by_code.get(code)

    def label(self, code: str) -> str:
        """What a person reads for this code; the code itself when the table does not know it."""
        term = self.get(code)
        return term.label if term else code

    @property
    def codes(self) -> tuple[str, ...]:
        """All codes, in the order of the table."""
        return tuple(term.code for term in self.terms)


def _table(name: str, title: str, *rows: tuple[str, str, str, str]) -> Table:
    return Table(
        name,
        title,
        tuple(
            Term(code=code, label=label, meaning=meaning, source=source)
            for code, label, meaning, source in rows
        ),
    )


# --- Grading and marking ---------------------------------------------------------------------------------------

SOURCE_EVAL = _table(
    "source_eval", "How reliable is the source?",
    ("1", "Reliable", "The source is believed competent and has been right before.", "3x5x2 police intelligence report: name read, meaning unverified"),
    ("2", "Untested", "Not used before, or cannot be assessed: the normal value for a partner's worker.", "3x5x2: name read, meaning unverified"),
    ("3", "Not reliable", "There are grounds to doubt the source.", "3x5x2: name read, meaning unverified"),
)  # fmt: skip

INFO_ASSESS = _table(
    "info_assess", "How does the source know?",
    ("A", "Known directly to the source", "First hand: the source saw or heard it.", "3x5x2: read"),
    ("B", "Known indirectly, corroborated", "Second hand, with support from elsewhere.", "3x5x2: read"),
    ("C", "Known indirectly", "Second hand.", "3x5x2: read"),
    ("D", "Not known", "How the source knows is not known.", "3x5x2: read"),
    ("E", "Suspected to be false", "There are grounds to think that it is not true.", "3x5x2: read"),
)  # fmt: skip

HANDLING = _table(
    "handling", "How may it be passed on?",
    ("P", "Lawful sharing permitted", "May be shared for a policing or safeguarding purpose with those who need it.", "3x5x2: read"),
    ("C", "Lawful sharing permitted with conditions", "May be shared only as the conditions beside it say.", "3x5x2: read"),
)  # fmt: skip

CONDITION = _table(
    "condition", "Conditions of handling",
    ("A1", "Covert development", "May be developed, but not so that anyone could notice.", "3x5x2: unverified"),
    ("A2", "Covert use", "May be acted on, but not so that anyone could notice.", "3x5x2: unverified"),
    ("A3", "Overt use", "May be acted on openly.", "3x5x2: unverified"),
    ("S1", "Delegated authority", "The recipient may sanitise it and pass it on.", "3x5x2: unverified"),
    ("S2", "Consult the originator", "Ask the sender before any further use.", "3x5x2: unverified"),
)  # fmt: skip

MARKING = _table(
    "marking", "Security marking",
    ("OFFICIAL", "OFFICIAL", "Routine public-sector information.", "Government Security Classifications Policy, August 2024: read"),
    ("OFFICIAL-SENSITIVE", "OFFICIAL-SENSITIVE", "OFFICIAL for which need to know is enforced: the default of every alert.", "Government Security Classifications Policy: read; default proposed"),
)  # fmt: skip

PRIORITY = _table(
    "priority", "How soon?",
    ("HIGH", "High", "Threat to life or of serious harm, imminent. Call 999 or the local safeguarding hub first.", "3x5x2: read; use proposed"),
    ("MEDIUM", "Medium", "Time critical: acknowledged the same day.", "3x5x2: read; use proposed"),
    ("LOW", "Low", "Everything else: acknowledged within one working day.", "3x5x2: read; use proposed"),
)  # fmt: skip

HOW_KNOWN = _table(
    "how_known", "How do you know?",
    ("self", "I saw or heard it myself", "Suggests assessment A.", "proposed"),
    ("person", "The person told me", "Suggests assessment A: the person is the source.", "proposed"),
    ("other", "Someone else told me", "Suggests assessment C.", "proposed"),
    ("record", "I read it in a record", "Suggests assessment C; B if two records agree.", "proposed"),
    ("rumour", "It is talked about, or I am not sure", "Suggests assessment D.", "proposed"),
)  # fmt: skip

HOW_KNOWN_ASSESSMENT = {"self": "A", "person": "A", "other": "C", "record": "C", "rumour": "D"}
"""The worker's own words to a suggested `info_assess`: partners do not grade, but a receiver's system may want it."""

# --- What kind of message --------------------------------------------------------------------------------------

ALERT_TYPE = _table(
    "alert_type", "Type of message",
    ("alert", "Alert", "New information about a person, a place or a thing.", "CAP: read"),
    ("update", "Update", "Changes or adds to an alert sent before.", "CAP: read"),
    ("cancel", "Cancel", "The alert was wrong and is to be deleted.", "CAP: read"),
    ("ack", "Acknowledgement", "The alert was taken note of.", "CAP: read"),
    ("error", "Error", "The alert could not be used.", "CAP: read"),
    ("withheld", "Withheld", "A decision not to share, with its reason.", "proposed"),
    ("recall", "Recall", "The sender asks every holder to delete the alert.", "proposed"),
    ("purge_receipt", "Deletion receipt", "A holder says that the alert is deleted.", "proposed"),
    ("request_info", "Question", "A holder asks the sender for more.", "proposed"),
)  # fmt: skip

ALERT_STATUS = _table(
    "alert_status", "Is it real?",
    ("actual", "Actual", "Real information about real people.", "CAP: read"),
    ("exercise", "Exercise", "Practice with invented people; never mixes with live nodes.", "CAP: read"),
    ("system", "System", "Between machines; holds nothing about anyone.", "CAP: read"),
    ("test", "Test", "A technical test with invented content.", "CAP: read"),
    ("draft", "Draft", "Not sent.", "CAP: read"),
)  # fmt: skip

SUBMITTED_STATUSES = ("actual", "exercise", "test")
"""The statuses in which a worker may send an alert."""

KIND = _table(
    "kind", "What is it about?",
    ("recruitment_out_of_area", "Recruiting away from home", "A person from another area recruits people here.", "front-line account of a Jobcentre: proposed"),
    ("sighting_out_of_area", "Seen away from home", "A person at risk is seen in an area that is not theirs.", "missing-from-home guidance: proposed"),
    ("cuckooing_concern", "Home may be taken over", "A vulnerable person's home appears to be used by others.", "Home Office county lines guidance 2023: proposed"),
    ("carrying_or_running", "Carrying or running", "A person appears to move drugs, cash or weapons for others.", "Home Office county lines guidance 2023: proposed"),
    ("travel_pattern", "Pattern of travel", "Repeated journeys that suggest running.", "British Transport Police taskforce: proposed"),
    ("missing_or_found", "Missing or found", "A person is missing, or was found after being missing.", "missing-from-home guidance: proposed"),
    ("debt_or_threat", "Debt or threat", "A person is in debt to, or threatened by, a group.", "Home Office county lines guidance 2023: proposed"),
    ("placement_in", "Placed from another area", "A looked-after child is placed in an area that is not theirs.", "Care Planning Regulations 2010, regulation 13: proposed"),
    ("release_in", "Released from prison", "A person is released into an area new to them.", "Offender Management Act 2007 section 14: proposed"),
    ("transition_18", "Turning 18", "A person passes from children's to adult services.", "front-line account of county lines: proposed"),
    ("associate_in_target_area", "Family or associate used", "A family member or associate lives in an area that a group aims at.", "front-line account of county lines: proposed"),
    ("line_phone_vehicle_address", "Line, phone, vehicle or address", "Only a thing is known, no person.", "front-line account of county lines: proposed"),
    ("network_pattern", "Network", "Several people or places that appear to belong together.", "front-line account of county lines: proposed"),
    ("other", "Something else", "None of the others.", "proposed"),
)  # fmt: skip

HARM = _table(
    "harm", "What harm is feared?",
    ("CCE", "Child criminal exploitation", "A child is made to commit crime for others.", "Act of 2026 part 4 chapter 1: read"),
    ("CUCKOO", "Home takeover", "A person's home is controlled by others for crime.", "Act of 2026 part 4 chapter 2: read"),
    ("INTCONC", "Coerced internal concealment", "A person is made to hide drugs in the body.", "Lords debate of 25 February 2026: read; final section to be confirmed"),
    ("CSE", "Child sexual exploitation", "A child is exploited sexually.", "Working Together: read"),
    ("MSHT", "Modern slavery or trafficking", "A person is moved or held to be exploited; a duty to notify may apply.", "Modern Slavery Act 2015 section 52: read"),
    ("DEBT", "Debt bondage", "A person is made to work off a debt, often a staged one.", "Home Office county lines guidance 2023: read"),
    ("SYV", "Serious violence", "Serious violence is used or threatened.", "Police, Crime, Sentencing and Courts Act 2022: read"),
    ("DRUGS", "Drug supply", "Drugs are supplied or moved.", "Home Office county lines guidance 2023: read"),
    ("FIN", "Financial exploitation", "A person's account is used, or the person is made a money mule.", "Home Office county lines guidance 2023: read"),
    ("MISSING", "Missing", "The person cannot be found.", "HMICFRS glossary: read"),
    ("THREAT", "Threat", "The person or someone close is threatened.", "proposed"),
    ("NEGLECT", "Neglect", "Basic needs are not met.", "Working Together: read"),
    ("OTHER", "Other harm", "None of the others.", "proposed"),
)  # fmt: skip

# --- Words that workers and young people use: synonyms for a search, never shown as proof -----------------------

COUNTY_LINES_TERMS = _table(
    "county_lines_term", "Words heard around county lines",
    ("branded_line", "Branded line, deal line", "Phone used to take orders.", "Complex Safeguarding Wales glossary, Cardiff University: read"),
    ("clean_skin", "Clean skin", "Child not known to services.", "Complex Safeguarding Wales glossary: read"),
    ("cuckooing", "Cuckooing", "Taking over a vulnerable person's home.", "Complex Safeguarding Wales glossary: read"),
    ("debt_bondage", "Debt bondage", "Staged debt, often by robbing one's own runner.", "Complex Safeguarding Wales glossary: read"),
    ("elder", "Elder", "One step above a runner.", "Complex Safeguarding Wales glossary: read"),
    ("food", "Food", "Drugs.", "Complex Safeguarding Wales glossary: read"),
    ("going_country", "Going country, cunch, OT, out trapping", "Dealing away from home.", "Complex Safeguarding Wales glossary: read"),
    ("plugging", "Plugging", "Hiding drugs internally.", "Complex Safeguarding Wales glossary: read"),
    ("runner", "Runner", "Child who moves drugs or cash.", "Complex Safeguarding Wales glossary: read"),
    ("shank", "Shank", "Knife.", "Complex Safeguarding Wales glossary: read"),
    ("on_tick", "On tick, strapping", "First drugs given free or on credit.", "Complex Safeguarding Wales glossary: read"),
    ("taxing", "Taxing", "Violence to keep control.", "Complex Safeguarding Wales glossary: read"),
    ("trap_house", "Trap house", "Base for dealing.", "Neighbourhood Watch, ourwatch.org.uk: read"),
    ("road_man", "Road man", "Dealer.", "Complex Safeguarding Wales glossary: read"),
)  # fmt: skip

# --- The person ------------------------------------------------------------------------------------------------

ROLE = _table(
    "role", "What is the person in this?",
    ("at_risk", "At risk", "May come to harm.", "proposed"),
    ("exploited", "Exploited", "Is being used by others; may be so and yet harm others.", "proposed"),
    ("suspected_exploiter", "Suspected of exploiting", "Appears to use others.", "proposed"),
    ("gang_member", "Gang member", "Known or believed to belong to a gang.", "proposed"),
    ("gang_associate", "Gang associate", "Known or believed to be close to a gang.", "proposed"),
    ("family_or_associate", "Family or associate", "Close to the person the alert is about.", "proposed"),
    ("householder_cuckooed", "Householder", "Lives in the home that is taken over.", "proposed"),
    ("witness", "Witness", "Saw or heard it.", "proposed"),
    ("unknown", "Not known", "The person's part is not known.", "proposed"),
)  # fmt: skip

AGE_BAND = _table(
    "age_band", "How old?",
    ("u10", "Under 10", "Below the age of criminal responsibility in England, Wales and Northern Ireland.", "College of Policing APP: read"),
    ("10_13", "10 to 13", "Child.", "proposed"),
    ("14_15", "14 or 15", "Child.", "proposed"),
    ("16_17", "16 or 17", "Child; the legal grounds change at 18.", "proposed"),
    ("18_24", "18 to 24", "Young adult.", "proposed"),
    ("25p", "25 or over", "Adult.", "proposed"),
    ("unknown", "Not known", "Could be a child: treated as one until known.", "proposed"),
)  # fmt: skip

CHILD_BANDS = ("u10", "10_13", "14_15", "16_17")

COHORT = _table(
    "cohort", "What makes the person vulnerable?",
    ("looked_after", "Looked-after child", "In the care of a council.", "front-line account of county lines"),
    ("drug_user", "Uses drugs", "Depends on or uses drugs.", "front-line account of county lines"),
    ("mental_health", "Mental health", "Has mental health needs.", "front-line account of county lines"),
    ("vulnerable_woman_or_girl", "Vulnerable woman or girl", "At risk because she is a woman or girl in these circles.", "front-line account of county lines"),
    ("vulnerable_adult", "Adult at risk", "Has care and support needs and may not be able to protect themselves.", "front-line account; Care Act 2014 section 42"),
    ("child_runner", "Child runner", "Child used to move drugs or cash.", "front-line account of county lines"),
    ("neglect_or_abuse_history", "History of neglect or abuse", "Was neglected or abused before.", "Home Office county lines guidance 2023: read"),
    ("isolated", "Isolated", "Few people around the person.", "Home Office county lines guidance 2023: read"),
    ("economic", "Poor or in debt", "Economic vulnerability.", "Home Office county lines guidance 2023: read"),
    ("homeless", "Homeless or unsettled", "No secure home.", "Home Office county lines guidance 2023: read"),
    ("learning_or_physical_disability", "Disability", "Learning or physical disability.", "Home Office county lines guidance 2023: read"),
    ("care_leaver", "Care leaver", "Was in the care of a council.", "Home Office county lines guidance 2023: read"),
    ("excluded_from_school", "Excluded from school", "Excluded, or not in mainstream education.", "Home Office county lines guidance 2023: read"),
    ("insecure_immigration", "Insecure immigration status", "Status not settled.", "Home Office county lines guidance 2023: read"),
    ("cjs_contact", "Known to justice agencies", "In contact with police, courts, prison or probation.", "Home Office county lines guidance 2023: read"),
)  # fmt: skip

ADULT_AT_RISK_COHORTS = (
    "drug_user", "mental_health", "vulnerable_woman_or_girl", "vulnerable_adult", "homeless",
    "learning_or_physical_disability", "care_leaver",
)  # fmt: skip
"""Cohorts for which an adult's alert goes to adult services as well."""

INDICATOR = _table(
    "indicator", "What was noticed?",
    ("found_out_of_area", "Found away from home", "In a place the person has no reason to be.", "county lines guidance: read"),
    ("persistently_missing", "Often missing", "Missing again and again.", "county lines guidance: read"),
    ("unexplained_money_goods", "Money or goods unexplained", "New clothes, phones, cash.", "county lines guidance: read"),
    ("many_phones_or_texts", "Many phones, calls or texts", "More than one phone, or constant calls.", "county lines guidance: read"),
    ("controlling_older_contacts", "Older or controlling contacts", "Spends time with older people who give orders.", "county lines guidance: read"),
    ("injuries", "Injuries", "Injuries without a good account of them.", "county lines guidance: read"),
    ("weapon", "Weapon", "Carries or talks of carrying a weapon.", "county lines guidance: read"),
    ("gang_association", "Gang association", "Seen with gang members.", "county lines guidance: read"),
    ("isolation_from_peers", "Withdrawn from peers", "No longer with friends of the same age.", "county lines guidance: read"),
    ("change_in_wellbeing", "Changed", "Marked change in mood or behaviour.", "county lines guidance: read"),
    ("school_absence", "Absent from school", "Absent, or results fall.", "county lines guidance: read"),
    ("train_tickets", "Train tickets", "Tickets or journeys without a reason.", "county lines guidance: read"),
    ("one_bag_attachment", "Will not let go of a bag", "Keeps one bag close at all times.", "county lines guidance: read"),
    ("drug_paraphernalia", "Drug items", "Scales, wraps, bags.", "county lines guidance: read"),
    ("secretive_online", "Secretive online", "Hides accounts or messages.", "county lines guidance: read"),
    ("unknown_visitors", "Unknown visitors", "New people come and go at a home.", "county lines guidance: read"),
    ("short_stay_vehicles", "Vehicles that stop briefly", "Cars that come and leave within minutes.", "county lines guidance: read"),
    ("resident_not_seen", "Resident not seen", "The person who lives there has not been seen.", "county lines guidance: read"),
    ("asb_increase", "More anti-social behaviour", "More noise, litter, complaints around a home.", "county lines guidance: read"),
)  # fmt: skip

MISSING_RISK = _table(
    "missing_risk", "Risk while missing",
    ("no_apparent", "No apparent risk", "No reason to think of harm.", "HMICFRS glossary: read"),
    ("low", "Low", "Harm is possible but unlikely.", "HMICFRS glossary: name unverified"),
    ("medium", "Medium", "Harm is likely but not serious.", "HMICFRS glossary: name unverified"),
    ("high", "High", "Serious harm is likely.", "HMICFRS glossary: read"),
)  # fmt: skip

NAME_KIND = _table(
    "name_kind", "What sort of name?",
    ("birth", "Birth name", "As registered.", "proposed"),
    ("known", "Known as", "As the person is called.", "proposed"),
    ("alias", "Alias", "Used to mislead, or in other papers.", "proposed"),
    ("street", "Street name", "Used among peers or a group.", "proposed"),
    ("other", "Other", "Any other.", "proposed"),
)  # fmt: skip

SEX = _table(
    "sex", "Sex",
    ("female", "Female", "Female.", "proposed"),
    ("male", "Male", "Male.", "proposed"),
    ("not_known", "Not known", "Not known or not given.", "proposed"),
)  # fmt: skip

IDENTIFIER_SCHEME = _table(
    "identifier_scheme", "Number in another system",
    ("nhs_no", "NHS number", "Ten digits.", "NHS data dictionary: read"),
    ("consistent_id", "Consistent child identifier", "The single identifier for children of the Act of 2026.", "Act of 2026: read; not in use yet"),
    ("pnc", "PNC number", "Police National Computer.", "proposed"),
    ("prison_no", "Prison number", "As given by the prison service.", "proposed"),
    ("upn", "Unique pupil number", "As given by a school.", "proposed"),
    ("la_case", "Council case number", "In the sender's own case system.", "proposed"),
)  # fmt: skip

TOLD_PERSON = _table(
    "told_person", "Was the person told that this is shared?",
    ("yes", "Yes", "The person knows.", "DfE information sharing advice 2024, rule 2: read"),
    ("not_safe", "No, it would not be safe", "Telling would put someone at risk.", "DfE information sharing advice 2024, rule 2: read"),
    ("not_practical", "No, it was not practical", "There was no way to tell.", "DfE information sharing advice 2024, rule 2: read"),
)  # fmt: skip

CONSENT_STATE = _table(
    "consent_state", "Consent",
    ("not_needed", "Not needed", "Sharing rests on another ground.", "DfE information sharing advice 2024, rule 3: read"),
    ("given", "Given", "The person agreed.", "proposed"),
    ("refused", "Refused", "The person did not agree; reasons say why it is shared all the same.", "proposed"),
    ("cannot_consent", "Cannot consent", "The person is not able to.", "Data Protection Act 2018 schedule 1 paragraph 18: unverified"),
    ("not_reasonable", "Not reasonable to obtain", "It could not reasonably be asked for.", "Data Protection Act 2018 schedule 1 paragraph 18: unverified"),
    ("would_prejudice", "Asking would prejudice protection", "Asking would put the protection at risk.", "Data Protection Act 2018 schedule 1 paragraph 18: unverified"),
)  # fmt: skip

ASK = _table(
    "ask", "What should they do?",
    ("for_information", "For information", "Nothing is asked for.", "proposed"),
    ("check_and_tell_me", "Check and tell me", "Say whether the person is known and what was decided.", "proposed"),
    ("contact_me", "Contact me", "Call or write to the sender's desk.", "proposed"),
    ("act", "Act", "Something should be done by the date given.", "proposed"),
)  # fmt: skip

ALSO_REPORTED_TO = _table(
    "also_reported_to", "Already told",
    ("999", "999", "Emergency services.", "proposed"),
    ("101", "101", "Police, not urgent.", "proposed"),
    ("local_mash", "Local safeguarding hub", "Children's services of the sender's own area.", "proposed"),
    ("local_adults", "Local adult services", "Adult services of the sender's own area.", "proposed"),
    ("safeguarding_lead", "Safeguarding lead", "The lead of the sender's own organisation.", "proposed"),
    ("cp_is", "Child protection information system", "Looked up or flagged in the NHS system for child protection.", "NHS England CP-IS: read"),
    ("nrm", "National referral mechanism", "Referred as a potential victim of modern slavery.", "Modern Slavery Act 2015: read"),
    ("other", "Someone else", "Any other.", "proposed"),
)  # fmt: skip

# --- Place, home and time --------------------------------------------------------------------------------------

LOCATION_TYPE = _table(
    "location_type", "What sort of place?",
    ("jobcentre", "Jobcentre", "Office of Jobcentre Plus.", "front-line account of a Jobcentre"),
    ("agency_office", "Agency office", "Office of any other agency.", "front-line account of a Jobcentre"),
    ("treatment_centre", "Treatment centre", "Drug or alcohol service.", "front-line account of county lines"),
    ("care_home", "Children's or care home", "Residential care.", "front-line account of county lines"),
    ("housing_office", "Housing office", "Office of a council or housing association.", "front-line account of county lines"),
    ("private_home_used", "Private home", "A home that others use.", "front-line account of county lines"),
    ("train_route", "Train route", "On a train or a line.", "front-line account of county lines"),
    ("station", "Station", "Railway, coach or bus station.", "county lines guidance"),
    ("school_or_pru", "School or pupil referral unit", "Place of education.", "county lines guidance"),
    ("ae_or_hospital", "Hospital", "Emergency department or ward.", "county lines guidance"),
    ("clinic_sexual_health", "Sexual health clinic", "Clinic.", "county lines guidance"),
    ("hostel_or_temporary", "Hostel or temporary housing", "Temporary accommodation.", "county lines guidance"),
    ("prison_gate", "Prison gate", "On release.", "county lines guidance"),
    ("approved_premises", "Approved premises", "Hostel run for probation.", "county lines guidance"),
    ("hotel_or_short_let", "Hotel or short let", "Rented for a short time.", "county lines guidance"),
    ("street", "Street or open place", "Outdoors.", "county lines guidance"),
    ("shop", "Shop or restaurant", "Open to the public.", "county lines guidance"),
    ("online", "Online", "Not at a place.", "county lines guidance"),
)  # fmt: skip

TRANSITION = _table(
    "transition", "What boundary is crossed?",
    ("camhs_to_amhs", "Children's to adult mental health", "Turning 18 in treatment.", "front-line account of county lines"),
    ("county_urban_btp", "County, urban and transport police", "Between forces.", "front-line account of county lines"),
    ("lac_placement", "Placement of a looked-after child", "Into another council's area.", "front-line account of county lines"),
    ("prison_release", "Release from prison", "Into an area new to the person.", "front-line account of county lines"),
    ("associate_family_area", "Area of family or associates", "Where family or associates live.", "front-line account of county lines"),
)  # fmt: skip

HOME_METHOD = _table(
    "home_method", "How was the home area found?",
    ("postcode", "By full postcode", "A whole postcode.", "proposed"),
    ("partial", "By part of a postcode", "The worker chose among the areas that it fits.", "proposed"),
    ("name", "By name", "A town, district, county, force or region.", "proposed"),
    ("code", "By area code", "A GSS code.", "proposed"),
    ("unknown", "Not found", "Nothing was found; a desk is asked.", "proposed"),
    ("asserted", "Given by the sender", "The sender named the area and no text was looked up.", "proposed"),
)  # fmt: skip

HOME_BASIS = _table(
    "home_basis", "Why is it home?",
    ("lives", "Lives there", "The person lives there.", "proposed"),
    ("family", "Family there", "The person's family lives there.", "proposed"),
    ("placed", "Responsible council", "The council that placed the person.", "proposed"),
    ("last_known", "Last known", "The last home that is known.", "proposed"),
    ("said", "Said so", "The person or someone else said so.", "proposed"),
)  # fmt: skip

PRECISION = _table(
    "precision", "How exact is the time?",
    ("minute", "To the minute", "As recorded.", "proposed"),
    ("hour", "About that hour", "Within an hour.", "proposed"),
    ("day", "That day", "The time is not known.", "proposed"),
    ("week", "That week", "The day is not known.", "proposed"),
    ("month", "That month", "The week is not known.", "proposed"),
    ("unknown", "Not known", "Only when it was reported is known.", "proposed"),
)  # fmt: skip

# --- Things and how they hang together -------------------------------------------------------------------------

OBJECT_KIND = _table(
    "object_kind", "What sort of thing?",
    ("phone", "Phone", "A number or a handset.", "proposed"),
    ("vehicle", "Vehicle", "Registration mark or description.", "proposed"),
    ("social", "Social media account", "A name on a platform.", "proposed"),
    ("address", "Address", "A place where something happens.", "proposed"),
    ("line", "Line", "The name under which drugs are sold.", "proposed"),
    ("other", "Other", "Any other thing.", "proposed"),
)  # fmt: skip

RELATION_VERB = _table(
    "relation_verb", "How do they hang together?",
    ("uses", "Uses", "Uses the thing.", "proposed"),
    ("owns", "Owns", "Owns or holds the thing.", "proposed"),
    ("lives_at", "Lives at", "Lives at the address.", "proposed"),
    ("seen_at", "Seen at", "Was seen at the address.", "proposed"),
    ("seen_with", "Seen with", "Was seen with the other.", "proposed"),
    ("controls", "Controls", "Tells the other what to do.", "proposed"),
    ("recruits", "Recruits", "Tries to win the other.", "proposed"),
    ("threatens", "Threatens", "Threatens the other.", "proposed"),
    ("supplies", "Supplies", "Gives drugs or goods to the other.", "proposed"),
    ("family_of", "Family of", "Belongs to the other's family.", "proposed"),
    ("associate_of", "Associate of", "Spends time with the other.", "proposed"),
    ("contacts", "Contacts", "Calls or writes to the other.", "proposed"),
    ("other", "Other", "As the narrative says.", "proposed"),
)  # fmt: skip

CERTAINTY = _table(
    "certainty", "How sure?",
    ("certain", "Certain", "Seen or proved.", "proposed"),
    ("likely", "Likely", "Good reason to think so.", "proposed"),
    ("possible", "Possible", "It may be so.", "proposed"),
    ("unknown", "Not known", "Cannot be said.", "proposed"),
)  # fmt: skip

# --- Agencies and functions ------------------------------------------------------------------------------------

FUNCTION = _table(
    "function", "Who does what for an area",
    ("MASH", "Children's services front door", "Multi-agency safeguarding hub or children's social care; for a county or unitary council.", "areas of 153 councils in England, 22 in Wales, 32 in Scotland: read; Health and Social Care Trusts in Northern Ireland: unverified"),
    ("LA_ASC", "Adult services", "Adult social care; for a county or unitary council.", "Care Act 2014 section 42: read"),
    ("LA_CSP", "Community safety partnership", "For a district.", "ONS community safety partnership codes: read"),
    ("YJS", "Youth justice service", "Youth offending team; for a county or unitary council, some joint.", "front-line accounts"),
    ("POLICE", "Territorial police force", "43 forces in England and Wales, Police Scotland, Police Service of Northern Ireland.", "ONS police force areas: read"),
    ("BTP", "British Transport Police", "The railways of Great Britain; no area of its own.", "British Transport Police county lines taskforce: read"),
    ("ROCU", "Regional organised crime unit", "Regional desk: last resort when a home area is not known.", "proposed"),
    ("NCLCC", "National County Lines Coordination Centre", "National desk: last resort when a home area is not known.", "proposed"),
    ("NCA", "National Crime Agency", "National desk.", "proposed"),
    ("PROBATION", "Probation", "By region.", "Offender Management Act 2007 section 14: read"),
    ("PRISON", "Prison", "By establishment.", "Offender Management Act 2007 section 14: read"),
    ("NHS_TRUST", "NHS trust", "Hospital or community health.", "proposed"),
    ("MH_TRUST", "Mental health trust", "Children's and adult mental health.", "proposed"),
    ("AE", "Emergency department", "Hospital emergency department.", "proposed"),
    ("GP", "General practice", "Family doctors.", "proposed"),
    ("SEXUAL_HEALTH", "Sexual health service", "Clinics.", "proposed"),
    ("AMBULANCE", "Ambulance service", "Ambulance trust.", "proposed"),
    ("JCP", "Jobcentre Plus", "Office of the Department for Work and Pensions.", "Social Security Administration Act 1992 section 123: read"),
    ("SCHOOL", "School", "By council area.", "proposed"),
    ("COLLEGE", "College", "Further education.", "proposed"),
    ("PRU", "Pupil referral unit", "Education outside school.", "proposed"),
    ("HOUSING", "Housing", "Council housing or housing association; by districts.", "proposed"),
    ("DRUG_ALCOHOL", "Drug and alcohol service", "By contract area.", "Children Act 2004 section 16LA(4)(c): read"),
    ("YOUTH_WORK", "Youth work", "By contract area.", "Children Act 2004 section 16LA(4)(c): read"),
    ("VCS", "Charity or community group", "By contract area.", "Children Act 2004 section 16LA(4)(c): read"),
)  # fmt: skip

FUNCTION_ALIASES = {
    "LA_CSC": "MASH", "CSC": "MASH", "CHILD": "MASH", "CHILDREN": "MASH", "CHILDRENS": "MASH",
    "CHILDRENS_SERVICES": "MASH", "CHILDREN_SERVICES": "MASH", "CHILDRENS_SOCIAL_CARE": "MASH",
    "SAFEGUARDING_HUB": "MASH", "ADULT": "LA_ASC", "ADULTS": "LA_ASC", "ADULT_SERVICES": "LA_ASC",
    "ADULT_SOCIAL_CARE": "LA_ASC", "ASC": "LA_ASC", "CSP": "LA_CSP", "COMMUNITY_SAFETY": "LA_CSP",
    "COMMUNITY_SAFETY_PARTNERSHIP": "LA_CSP", "YOUTH_JUSTICE": "YJS", "YOUTH_JUSTICE_SERVICE": "YJS", "YOT": "YJS",
    "YOUTH_OFFENDING": "YJS", "FORCE": "POLICE", "POLICE_FORCE": "POLICE", "TRANSPORT_POLICE": "BTP",
    "BRITISH_TRANSPORT_POLICE": "BTP", "REGIONAL_DESK": "ROCU", "NATIONAL_DESK": "NCLCC", "HMP": "PRISON",
    "HOSPITAL": "NHS_TRUST", "NHS": "NHS_TRUST", "MENTAL_HEALTH": "MH_TRUST", "CAMHS": "MH_TRUST", "AMHS": "MH_TRUST",
    "A_E": "AE", "A&E": "AE", "ACCIDENT_AND_EMERGENCY": "AE", "EMERGENCY_DEPARTMENT": "AE", "DOCTOR": "GP",
    "JOBCENTRE": "JCP", "JOBCENTRE_PLUS": "JCP", "JOB_CENTRE": "JCP", "DWP": "JCP", "SCHOOLS": "SCHOOL",
    "COLLEGES": "COLLEGE", "HOUSING_ASSOCIATION": "HOUSING", "DRUGS": "DRUG_ALCOHOL",
    "DRUG_AND_ALCOHOL": "DRUG_ALCOHOL", "DRUG_SERVICE": "DRUG_ALCOHOL", "YOUTH": "YOUTH_WORK", "YOUTH_WORKER": "YOUTH_WORK",
    "CHARITY": "VCS", "VOLUNTARY": "VCS",
}  # fmt: skip
"""What people write for a function, in capitals with underscores, to its code."""

_SEPARATORS = re.compile(r"[\s\-_/.]+")


def function(text: str) -> str | None:
    """The function code that a person means by this text, or None; case, spaces, hyphens and apostrophes do not count."""
    if text in FUNCTION:
        return text
    if len(text) > 64:
        return None
    plain = (
        unicodedata.normalize("NFKC", text).replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", "")
    )
    code = _SEPARATORS.sub("_", plain.strip().upper()).strip("_")
    return code if code in FUNCTION else FUNCTION_ALIASES.get(code)


# --- Law: grounds, conditions and restrictions -----------------------------------------------------------------

GATEWAY = Table(
    "gateway",
    "What allows it to be shared?",
    (
        Gateway(code="UKGDPR_6_1_c", label="Legal obligation", meaning="Processing is needed for a legal obligation.", source="UK GDPR article 6(1)(c): read", jurisdictions=UK, who="Anyone under such an obligation."),
        Gateway(code="UKGDPR_6_1_d", label="Vital interests", meaning="Processing is needed to protect someone's life.", source="UK GDPR article 6(1)(d): read", jurisdictions=UK, who="Anyone."),
        Gateway(code="UKGDPR_6_1_e", label="Public task", meaning="Processing is needed for a task in the public interest or official authority.", source="UK GDPR article 6(1)(e): read", jurisdictions=UK, who="Public authorities, and those who exercise official authority."),
        Gateway(code="UKGDPR_RLI", label="Recognised legitimate interest", meaning="A listed interest: a public body's request, security, emergency, crime, safeguarding a vulnerable individual. No balancing test; must be necessary.", source="Data (Use and Access) Act 2025 schedule 4: read; whether in force is to be checked", jurisdictions=UK, who="Housing associations, charities and other bodies outside the public task.", senders=("HOUSING", "DRUG_ALCOHOL", "YOUTH_WORK", "VCS", "COLLEGE", "SCHOOL", "GP")),
        Gateway(code="DPA_S1_P18", label="Safeguarding of children and individuals at risk", meaning="Special category data without consent for a listed reason, in the substantial public interest.", source="Data Protection Act 2018 schedule 1 paragraph 18: unverified", jurisdictions=UK, who="Anyone who protects a child or an individual at risk."),
        Gateway(code="DPA_P3_S8_P4", label="Law enforcement: safeguarding", meaning="Law-enforcement processing to protect someone under 18 or an adult at risk.", source="Data Protection Act 2018 schedule 8 paragraph 4: read", jurisdictions=UK, who="Police, prisons and probation, as competent authorities.", senders=(*POLICING, "PRISON", "PROBATION", "YJS")),
        Gateway(code="CA1989_17", label="Child in need", meaning="Services for a child in need.", source="Children Act 1989 section 17: read", jurisdictions=ENGLAND_WALES, who="Children's services, and those who help them."),
        Gateway(code="CA1989_47", label="Significant harm", meaning="Enquiry where a child may suffer significant harm.", source="Children Act 1989 section 47: read", jurisdictions=ENGLAND_WALES, who="Children's services, and those who must help their enquiries."),
        Gateway(code="CA2004_10", label="Co-operation", meaning="Co-operation to improve children's well-being.", source="Children Act 2004 section 10: read", jurisdictions=ENGLAND, who="Councils, police, health, schools."),
        Gateway(code="CA2004_11", label="Duty to safeguard", meaning="Functions are discharged with regard to the welfare of children.", source="Children Act 2004 section 11: read", jurisdictions=ENGLAND, who="Councils, police, health and other bodies named there."),
        Gateway(code="CA2004_16H", label="Safeguarding partners require it", meaning="Safeguarding partners may require information.", source="Children Act 2004 section 16H: read", jurisdictions=ENGLAND, who="Anyone asked by a safeguarding partner."),
        Gateway(code="CA2004_16LA", label="Duty to share", meaning="Duty to share for the welfare of a child, unless sharing is more detrimental to the child.", source="Children Act 2004 section 16LA (Act of 2026): read; whether in force is to be checked", jurisdictions=ENGLAND, who="Bodies under section 11(1), designated education and childcare agencies, and their contractors."),
        Gateway(code="CARE_42", label="Adult enquiry", meaning="Enquiry where an adult with care needs may be abused or neglected.", source="Care Act 2014 section 42: read", jurisdictions=ENGLAND, who="Councils, and those who help their enquiries."),
        Gateway(code="CARE_45", label="Supply to the safeguarding adults board", meaning="Information must be supplied to the board on its request.", source="Care Act 2014 section 45: read", jurisdictions=ENGLAND, who="Anyone asked by the board."),
        Gateway(code="CDA_115", label="Disclosure to a relevant authority", meaning="Power, not duty, to disclose for the purposes of the Act.", source="Crime and Disorder Act 1998 section 115: an old text read; the current list is to be checked", jurisdictions=ENGLAND_WALES, who="Anyone, to police, councils, probation and health."),
        Gateway(code="PCSCA_16", label="Serious violence duty", meaning="Disclosure for the serious violence duty; overrides confidence.", source="Police, Crime, Sentencing and Courts Act 2022 section 16: read", jurisdictions=ENGLAND_WALES, who="Specified authorities, policing bodies, education, prisons and youth custody, to each other.", not_for=(*HEALTH, *SOCIAL_CARE, "DRUG_ALCOHOL")),
        Gateway(code="OMA_14", label="Offender management", meaning="Disclosure for the management of offenders.", source="Offender Management Act 2007 section 14: read", jurisdictions=ENGLAND_WALES, who="Prisons and probation, with government, councils, the Youth Justice Board and police.", senders=(*POLICING, "PRISON", "PROBATION", "YJS", "MASH", "LA_ASC", "LA_CSP")),
        Gateway(code="MSA_52", label="Duty to notify", meaning="Duty to notify the Home Office of potential victims; a child need not consent.", source="Modern Slavery Act 2015 section 52: read", jurisdictions=ENGLAND_WALES, who="Police, councils, National Crime Agency, Gangmasters and Labour Abuse Authority."),
        Gateway(code="CPPCR_13", label="Notice of placement", meaning="A council that places a child outside its area must tell the host council and health.", source="Care Planning, Placement and Case Review (England) Regulations 2010, regulation 13: read", jurisdictions=ENGLAND, who="Councils that place a looked-after child.", senders=("MASH",)),
        Gateway(code="SSAA_AUTHORITY", label="Lawful authority of the department", meaning="The authority without which section 123 forbids staff of the department to disclose, e.g. its policy for crime and safeguarding.", source="Social Security Administration Act 1992 section 123: read; code proposed", jurisdictions=GREAT_BRITAIN, who="Staff of the Department for Work and Pensions.", senders=("JCP",)),
        Gateway(code="CLDC_PUBLIC_INTEREST", label="Overriding public interest", meaning="The public interest in disclosure outweighs the duty of confidence.", source="common law duty of confidentiality: unverified", jurisdictions=UK, who="Health staff and others who hold information in confidence."),
        Gateway(code="SCOTS_LAW", label="Ground in Scots law", meaning="A ground in the law of Scotland, named in the reasons.", source="proposed", jurisdictions=("Scotland",), who="Anyone who shares with or within Scotland.", receiving=True),
        Gateway(code="NI_LAW", label="Ground in the law of Northern Ireland", meaning="A ground in the law of Northern Ireland, named in the reasons.", source="proposed", jurisdictions=("Northern Ireland",), who="Anyone who shares with or within Northern Ireland.", receiving=True),
    ),
)  # fmt: skip

SPECIAL_CATEGORY = Table(
    "special_category",
    "Condition for special category or criminal-offence data",
    (
        Gateway(code="UKGDPR_9_2_b", label="Social protection", meaning="Employment, social security and social protection; needs a schedule 1 condition.", source="UK GDPR article 9(2)(b): unverified", jurisdictions=UK, who="Anyone with such a duty."),
        Gateway(code="UKGDPR_9_2_c", label="Vital interests", meaning="Someone's life, where the person cannot consent.", source="UK GDPR article 9(2)(c): unverified", jurisdictions=UK, who="Anyone."),
        Gateway(code="UKGDPR_9_2_g", label="Substantial public interest", meaning="Substantial public interest; needs a schedule 1 condition.", source="UK GDPR article 9(2)(g): unverified", jurisdictions=UK, who="Anyone with such a condition."),
        Gateway(code="UKGDPR_9_2_h", label="Health or social care", meaning="Care, treatment and the management of services, under a duty of confidence.", source="UK GDPR article 9(2)(h): unverified", jurisdictions=UK, who="Health and social care.", senders=(*HEALTH, *SOCIAL_CARE, "DRUG_ALCOHOL")),
        Gateway(code="UKGDPR_10", label="Criminal-offence data", meaning="Data on offences; needs a schedule 1 condition or official authority.", source="UK GDPR article 10: unverified", jurisdictions=UK, who="Anyone with such a condition."),
        Gateway(code="DPA_S1_P18", label="Safeguarding of children and individuals at risk", meaning="The schedule 1 condition for safeguarding.", source="Data Protection Act 2018 schedule 1 paragraph 18: unverified", jurisdictions=UK, who="Anyone who protects a child or an individual at risk."),
    ),
)  # fmt: skip

RESTRICTION = Table(
    "restriction",
    "What stands against sharing?",
    (
        Gateway(code="SSAA_123", label="Disclosure by staff of the department is an offence", meaning="Without lawful authority.", source="Social Security Administration Act 1992 section 123: read", jurisdictions=GREAT_BRITAIN, who="Staff of the Department for Work and Pensions.", senders=("JCP",)),
        Gateway(code="CLDC", label="Duty of confidentiality", meaning="Common law: disclosure needs consent or an overriding public interest.", source="common law duty of confidentiality: unverified", jurisdictions=UK, who="Health and others told in confidence.", senders=HEALTH),
        Gateway(code="PCSCA_16_4", label="Not for patient information", meaning="Section 16 covers neither patient information nor personal information of a health or social care authority.", source="Police, Crime, Sentencing and Courts Act 2022 section 16(4): read", jurisdictions=ENGLAND_WALES, who="Health and social care.", senders=(*HEALTH, *SOCIAL_CARE)),
    ),
)  # fmt: skip

WITHHELD_REASON = _table(
    "withheld_reason", "Why is it not shared?",
    ("more_detrimental_to_child", "It would harm the child more", "Sharing is more detrimental to the child than not sharing.", "Children Act 2004 section 16LA(3): read"),
    ("prejudice_investigation", "It would harm an investigation", "An investigation would be put at risk.", "proposed"),
    ("endangers_source_or_person", "It would endanger someone", "The source or the person would be put at risk.", "DfE information sharing advice 2024, rule 5: read"),
    ("not_relevant_or_accurate", "Not relevant or not accurate", "It does not bear on the person's safety, or cannot be relied on.", "DfE information sharing advice 2024, rule 6: read"),
    ("recipient_has_no_role", "The recipient has no role", "They do not need it for what they do.", "DfE information sharing advice 2024, rule 6: read"),
    ("statute_forbids", "A statute forbids it", "Section 123 of the 1992 Act, section 16(4) of the 2022 Act.", "statutes named: read"),
    ("patient_confidentiality", "Patient confidentiality", "Confidence weighs more than the interest in sharing.", "common law: unverified"),
    ("seeking_consent_first", "Consent is being asked for", "It is safe to ask first.", "proposed"),
    ("no_agreement_in_place", "No agreement is in place", "A weak reason: the lack of an agreement is no excuse.", "Bromley safeguarding partnership: read"),
    ("third_party_information", "It is about someone else", "A weak reason.", "Bromley safeguarding partnership: read"),
    ("not_knowing_bigger_picture", "Not known to matter", "The worth of a small piece was not seen.", "Centre of Excellence for Information Sharing 2016: read"),
    ("fear_of_accountability", "Fear of blame", "Counted for the sender's own use only, never shown to partners.", "front-line account of a Jobcentre"),
    ("lack_of_knowledge_of_agreement", "The agreement was not known", "Staff do not know what they may share.", "front-line account of a Jobcentre"),
)  # fmt: skip

OUTCOME = _table(
    "outcome", "What came of it?",
    ("intelligence_logged", "Logged as intelligence", "Recorded by police or a partner for later use.", "Hampshire community partnership information form: read"),
    ("crime_recorded", "Crime recorded", "A crime was recorded.", "Hampshire community partnership information form: read"),
    ("safeguarding_referral", "Safeguarding referral made", "Passed to children's or adult safeguarding.", "Hampshire community partnership information form: read"),
    ("known_added_to_case", "Known: added to the case", "The person is known; it was added to the case.", "Hampshire community partnership information form: read"),
    ("passed_to_area", "Passed to another area", "Sent on to the area that is named.", "proposed"),
    ("more_information_wanted", "More is wanted", "The sender is asked for more.", "proposed"),
    ("not_our_area", "Not our area", "The person does not belong to this area.", "proposed"),
    ("mistaken_identity", "Mistaken identity", "It was another person; both ends delete it.", "proposed"),
    ("no_further_action", "No further action", "Read and considered; nothing more is done.", "Hampshire community partnership information form: read"),
)  # fmt: skip

# --- How long content is kept ----------------------------------------------------------------------------------

RETENTION = Table(
    "retention",
    "How long is it kept?",
    (
        RetentionClass(code="UNADOPTED", label="Soft information", meaning="Not yet in anyone's case system; looked at again after half the time. Then deleted.", source="proposed", days=365, measured_from="observed", ceiling_days=730),
        RetentionClass(code="ADOPTED", label="Taken into a case system", meaning="The case system keeps the record; our copy goes soon after it is acknowledged.", source="proposed", days=30, measured_from="acknowledged", ceiling_days=365),
        RetentionClass(code="EXERCISE", label="Exercise", meaning="Practice with invented people.", source="proposed", days=7, measured_from="sent", ceiling_days=30),
        RetentionClass(code="MISROUTED", label="Sent to the wrong place", meaning="Deleted at both ends.", source="proposed", days=14, measured_from="sent", ceiling_days=14),
        RetentionClass(code="MISTAKEN", label="Mistaken identity", meaning="Deleted at both ends.", source="proposed", days=14, measured_from="sent", ceiling_days=14),
        RetentionClass(code="WITHHELD", label="Decision not to share", meaning="The record of a decision not to share.", source="proposed", days=730, measured_from="sent", ceiling_days=730),
        RetentionClass(code="HOLD", label="Legal hold", meaning="Kept until two people release it; then the class before applies again.", source="proposed", days=None, measured_from="release", ceiling_days=None),
        RetentionClass(code="AUDIT", label="Receipts and audit", meaning="Without personal data.", source="proposed", days=2192, measured_from="sent", ceiling_days=2192),
    ),
)  # fmt: skip

SUBMITTED_RETENTION = ("UNADOPTED", "ADOPTED", "EXERCISE", "MISROUTED", "MISTAKEN", "WITHHELD")
"""The classes that a sender may choose; the others follow from what happens to an alert."""

# --- All of it -------------------------------------------------------------------------------------------------

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        SOURCE_EVAL, INFO_ASSESS, HANDLING, CONDITION, MARKING, PRIORITY, HOW_KNOWN, ALERT_TYPE, ALERT_STATUS, KIND, HARM,
        COUNTY_LINES_TERMS, ROLE, AGE_BAND, COHORT, INDICATOR, MISSING_RISK, NAME_KIND, SEX, IDENTIFIER_SCHEME,
        TOLD_PERSON, CONSENT_STATE, ASK, ALSO_REPORTED_TO, LOCATION_TYPE, TRANSITION, HOME_METHOD, HOME_BASIS, PRECISION,
        OBJECT_KIND, RELATION_VERB, CERTAINTY, FUNCTION, GATEWAY, SPECIAL_CATEGORY, RESTRICTION, WITHHELD_REASON, OUTCOME,
        RETENTION,
    )
}  # fmt: skip
"""Every table by its name; the name is the scheme in `scheme:code`."""


def gateway(code: str) -> Gateway | None:
    """The legal ground, condition or restriction of this code, or None."""
    for table in (GATEWAY, SPECIAL_CATEGORY, RESTRICTION):
        term = table.get(code)
        if isinstance(term, Gateway):
            return term
    return None


def retention_class(code: str) -> RetentionClass | None:
    """The retention class of this code, or None."""
    term = RETENTION.get(code)
    return term if isinstance(term, RetentionClass) else None


_ADMIRALTY_SOURCE = {"1": "B", "2": "F", "3": "E"}
_ADMIRALTY_INFORMATION = {"A": "2", "B": "2", "C": "3", "D": "6", "E": "5"}


def admiralty(source_eval: str | None, info_assess: str | None) -> str:
    """The grading on the Admiralty scale for exports, e.g. `F3`; what is missing or unknown becomes F and 6 (cannot be judged)."""
    return _ADMIRALTY_SOURCE.get(source_eval or "", "F") + _ADMIRALTY_INFORMATION.get(info_assess or "", "6")
