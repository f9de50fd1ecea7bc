"""The 18 kinds of identifiers of HIPAA's Safe Harbor, 45 CFR 164.514(b)(2)(i)(A)-(R), and what
columns that hold them are called.

Names are looked for in English, German, French and Spanish; a name alone is believed only if the
cells may be what it says (`PhoneService` with Yes and No is no phone number).
"""

import re
from dataclasses import dataclass

from casemate.config.deidentify import Identifier


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of identifier."""

    letter: str
    """Its paragraph in 164.514(b)(2)(i)."""
    title: str
    called: str = ""
    """Regular expression for names of columns, in lower case with a space between words."""
    plausible: str = ""
    """RE2 that cells must match for a name to be believed."""


KINDS: dict[Identifier, Kind] = {
    "name": Kind(
        "A",
        "name",
        r"^(the )?(full )?names?$|^patient$|\bsurname\b|\b(fore|birth|maiden|nick)name\b"
        r"|\b(first|last|middle|given|family|full|maiden|patient|person|people|customer"
        r"|client|employee"
        r"|member|contact|mother|mothers|father|fathers|spouse|doctor|physician|nurse|guardian"
        r"|applicant|holder|owner|subject|insured|subscriber|relative|resident|student"
        r"|user|pt|[fl]) ?names?\b"
        r"|\bnext of kin\b|\b(vor|nach|familien)name\b|\bprenom\b|^nom$|\bapellidos?\b|^nombres?$"
        r"|\binitials\b",
        r"\pL{2}",
    ),
    "place": Kind(
        "B",
        "place smaller than a state",
        r"\b(street|(street|home|mail(ing)?)? ?address|addr|city|town|county|precinct|parish"
        r"|village|district|neighbou?rhood"
        r"|geocode|latitude|longitude|census tract|strasse|straße|wohnort|ville|rue|ciudad|calle"
        r"|home ?town|home dest|birth ?place|place of birth)( ?(line)? ?\d| name)?$"
        r"|^(lat|lon|lng|long)$|^(street|city|county|home) ?(address|addr|name|line)",
        r"\pL{2}|\d",
    ),
    "zip": Kind(
        "B",
        "ZIP or postal code",
        r"\bzip\b|\bzip ?code\b|^postal$|\bpost ?(al)? ?code\b|\bplz\b|\bpostleitzahl\b"
        r"|\bcode postal\b|^zcta5?$",
        r"^\s*[A-Za-z]{0,2}\d",
    ),
    "date": Kind("C", "date more exact than a year"),
    "age": Kind(
        "C", "age above 89", r"\bage\b|\balter\b|\bedad\b|\bage ?(years|yrs)\b|\bpatientage\b"
    ),
    "phone": Kind(
        "D",
        "telephone number",
        r"\b(home|work|cell|mobile|contact)?(tele)?phone\b|\bphone ?(number|no|nr)\b"
        r"|\b(mobile|cell|tel|telefon|handy|pager)\b|\bmovil\b",
        r"\d\D{0,3}\d\D{0,3}\d\D{0,3}\d\D{0,3}\d\D{0,3}\d",
    ),
    "fax": Kind("E", "fax number", r"\bfax\b", r"\d\D{0,3}\d\D{0,3}\d\D{0,3}\d\D{0,3}\d\D{0,3}\d"),
    "email": Kind("F", "e-mail address", r"\be ?mail( ?addr(ess)?)?\b|\bcorreo\b", r"@"),
    "ssn": Kind(
        "G",
        "social security number",
        r"\bssn\b|\bsocial ?security( ?(no|number|num|nr))?\b|\bsozialversicherung\w*\b|\bsin\b",
        r"\d{3}.?\d{2}.?\d{3}",
    ),
    "mrn": Kind(
        "H",
        "medical record number",
        r"\bmrn\b|\bmedical ?record( ?(id|no|number|num|nr))?\b|\bchart ?(no|number|id)\b|\bnhs\b"
        r"|\b(patient|pt) ?(id|no|number|nr|num)\b"
        r"|\bpatienten (id|nr|nummer)\b|\b(hadm|icustay|encounter|visit|admission|stay) ?id\b",
        r"\d",
    ),
    "health-plan": Kind(
        "I",
        "health plan beneficiary number",
        r"\bhealth plan\b|\b(member|beneficiary|policy|subscriber|insurance|plan|medicare"
        r"|medicaid|mbi)"
        r" ?(id|no|number|num|nr)\b|\bmbi\b|\bhicn\b|\bversicherten ?(nr|nummer)\b",
        r"\d",
    ),
    "account": Kind(
        "J",
        "account number",
        r"\b(account|acct|bank|card|credit card|konto) ?(id|no|number|num|nr|nummer)\b"
        r"|\biban\b|^account$"
        r"|\bcredit ?card\b",
        r"\d",
    ),
    "licence": Kind(
        "K",
        "certificate or licence number",
        r"\blicen[cs]e ?(id|no|number|num|nr)\b|\bdriver ?s? ?licen[cs]e\b"
        r"|\bcertificate( (id|no|number))?$"
        r"|\bpassport\b|\bdea( number)?$|\bnpi\b|\blicen[cs]e$|\bpersonalausweis\b",
        r"\d",
    ),
    "vehicle": Kind(
        "L",
        "vehicle identifier or licence plate",
        r"\bvin\b|\bvehicle (id|no|number|identification)\b|\b(licen[cs]e|number) plate\b|\bplate\b"
        r"|\bkennzeichen\b",
        r"\d",
    ),
    "device": Kind(
        "M",
        "device identifier or serial number",
        r"\bserial( ?(id|no|number|num|nr))?\b|\bdevice ?(id|no|number|serial|identifier)\b"
        r"|\budi\b|\bimei\b"
        r"|\bmac( address)?$|\bimplant (id|no|number)\b",
        r"\d",
    ),
    "url": Kind("N", "web address", r"\b(url|website|web ?page|homepage)\b", r"\w\.\w"),
    "ip": Kind("O", "internet address", r"\bip( ?(address|addr|v4|v6))?$", r"[0-9a-fA-F][.:]"),
    "biometric": Kind(
        "P",
        "biometric identifier",
        r"\b(finger ?print|voice ?print|retina|retinal|iris scan|iris code|biometric|face embedding"
        r"|palm ?print)\b",
        r"[\w+/]{4}",
    ),
    "photo": Kind(
        "Q",
        "full-face photograph",
        r"\b(photo|photograph|picture|portrait|selfie|face image|mugshot|avatar)\b",
        r"\w\.\w|[\w+/]{16}",
    ),
    "other-id": Kind(
        "R",
        "other unique number or code",
        r"(^| )(id|ids|uuid|guid|identifier|uid|kennung|rowid)$|^id\b"
        r"|\b(row|record|study|case|subject|person|customer|employee|user|student|tax|national)"
        r" ?(id|no|number|num|nr)\b"
        r"|^(patient|person|subject|customer|client|user|member|employee|student|participant"
        r"|resident|passenger|applicant|borrower|citizen|household)s?$",
        r"\d",
    ),
}
"""Every kind that columns can be said to be."""
_NAMES = {kind: re.compile(one.called) for kind, one in KINDS.items() if one.called}
ORDER: tuple[Identifier, ...] = (
    *("email", "url", "ip", "fax", "phone", "ssn", "health-plan", "vehicle", "licence", "mrn"),
    *("device", "account", "biometric", "photo", "zip", "name", "place", "age", "other-id"),
)
"""In which names are tried, the narrower first: `patient email`, `ip address`."""


def words(name: str) -> str:
    """A column's name in lower case, a space between its words: `firstName2` is `first name 2`."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Za-z])(?=\d)", " ", name)
    return " ".join(re.findall(r"[^\W_]+", split)).lower()


def called(name: str) -> list[Identifier]:
    """The kinds that a column of this name may hold, the likeliest first."""
    plain = words(name)
    return [kind for kind in ORDER if _NAMES[kind].search(plain)]
