"""What identifiers look like inside text, with check digits where they have them.

Check digits are python-stdnum's (ISO 7064 for IBAN, Luhn, NHS modulus 11, issued ranges of SSN),
phone numbers phonenumbers' (Google's libphonenumber). Each shape is given twice: loosely in RE2,
with which Arrow goes through a whole column, and exactly, for the cells that are left.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from casemate.config.deidentify import Identifier
from casemate.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Pattern:
    """One way in which a kind is written."""

    kind: Identifier
    loose: str
    """RE2, regardless of case: cells that it does not match are not looked at again."""
    exact: re.Pattern[str]
    """The first group, where there is one, is the identifier."""
    check: Callable[[str], bool] | None = None
    chance: float = 0.0
    """Of passing the check for digits drawn at random: where it is large, the share of a column's
    cells decides, never one cell."""
    has_checksum: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """Where an identifier stands in a text."""

    start: int
    end: int
    pattern: Pattern


def _p(
    kind: Identifier,
    loose: str,
    exact: str,
    check: Callable[[str], bool] | None = None,
    chance: float = 0.0,
    flags: int = 0,
) -> Pattern:
    return Pattern(kind, loose, re.compile(exact, flags), check, chance, chance > 0)


def _numbered(kind: Identifier, loose: str, words: str, code: str) -> Pattern:
    """A word that announces the kind, and the number or code that follows."""
    says = r"\s*(?:(?:id|no|number|num|nr|plate|code|template|#)\b\.?|#)?\s*(?:is\b)?\s*[:#=]?\s*"
    return _p(kind, loose, rf"\b(?:{words})\b{says}({code})(?![\w])", flags=re.IGNORECASE)


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _is_card(text: str) -> bool:
    from stdnum import luhn

    digits = _digits(text)
    # first digits of ISO/IEC 7812 that banks, travel and credit have
    return 13 <= len(digits) <= 19 and digits[0] in "23456" and bool(luhn.is_valid(digits))


def _is_iban(text: str) -> bool:
    from stdnum import iban

    return bool(iban.is_valid(text))


def _is_nhs(text: str) -> bool:
    from stdnum.gb import nhs

    return bool(nhs.is_valid(text))


def _is_imei(text: str) -> bool:
    from stdnum import imei

    return bool(imei.is_valid(text)) and len(_digits(text)) == 15


def _is_ssn(text: str) -> bool:
    from stdnum.us import ssn

    return bool(ssn.is_valid(re.sub(r"\s", "-", text)))


def _is_phone(text: str) -> bool:
    import phonenumbers

    try:
        found = phonenumbers.parse(text, "US")
    except phonenumbers.NumberParseException:
        return False
    return bool(phonenumbers.is_possible_number(found))


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return len(text) > 4  # `::` and `::1` are nobody's


def _is_day(text: str) -> bool:
    parts = [int(part) for part in re.findall(r"\d+", text)[:3]]
    if len(parts) < 3:
        return True
    first, second, third = parts
    if first > 31:
        first, third = third, first
    return 1 <= min(first, second) <= 12 and 1 <= max(first, second) <= 31


_VIN = {**{str(n): n for n in range(10)}, **dict(zip("ABCDEFGH", range(1, 9), strict=True))}
_VIN |= dict(zip("JKLMN", range(1, 6), strict=True)) | {"P": 7, "R": 9}
_VIN |= dict(zip("STUVWXYZ", range(2, 10), strict=True))
_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def _is_vin(text: str) -> bool:
    """By the check digit of 49 CFR 565.15(c), which cars sold in North America have."""
    rest = sum(_VIN[sign] * weight for sign, weight in zip(text, _WEIGHTS, strict=True)) % 11
    return text[8] == "0123456789X"[rest] and not text.isdigit()


def _is_dea(text: str) -> bool:
    digits = [int(sign) for sign in text[2:]]
    return (sum(digits[0:6:2]) + 2 * sum(digits[1:6:2])) % 10 == digits[6]


_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_STATES = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|DC|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM"
    "|NY|NC|ND|OH|OK|OR|PA|PR|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY"
)
_STREET = (
    r"street|st|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|dr|court|ct|way|highway|hwy|parkway|pkwy"
)
_US_PHONE = (
    r"(?:\+?1[-. ])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-. ])[2-9]\d{2}[-. ]\d{4}(?: ?x\d{1,5})?"
)
_PHONE = rf"(?:{_US_PHONE}|\+\d[\d ().-]{{6,18}}\d)"
_CODE = r"[A-Z]{0,4}[-/]?\d[\dA-Z]*(?:[-/.][\dA-Z]{1,12}){0,4}"
_I = re.IGNORECASE

PATTERNS: tuple[Pattern, ...] = (
    _p("email", "@", r"[\w.%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"),
    _p(
        "url",
        r"://|www\.",
        r"\b(?:https?|ftp)://[^\s<>\"']{2,2000}|\bwww\.[\w-]{1,63}\.[^\s<>\"']{2,2000}",
        flags=_I,
    ),
    _p("device", r"[0-9a-f]{2}[:-][0-9a-f]{2}[:-]", r"\b(?:[0-9A-F]{2}[:-]){5}[0-9A-F]{2}\b", flags=_I),
    _p(
        "other-id",
        r"[0-9a-f]{8}-[0-9a-f]{4}-",
        r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b",
        flags=_I,
    ),
    _p("ip", r"\d\.\d{1,3}\.\d{1,3}\.\d", r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)", _is_ip),
    _p(
        "ip",
        r"[0-9a-f]*:[0-9a-f]*:",
        r"(?<![\w:.])(?:[0-9A-F]{0,4}:){2,7}[0-9A-F]{0,4}(?![\w:])",
        _is_ip,
        flags=_I,
    ),
    _p("photo", r"data:image|\.(jpe?g|png|gif|bmp|tiff?|dcm|heic)\b",
       r"data:image/[^\s]{1,}|[^\s/\\]{1,255}\.(?:jpe?g|png|gif|bmp|tiff?|dcm|heic)\b", flags=_I),
    _p("account", r"[a-z]{2}\d{2} ?[a-z0-9]{4}", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
       _is_iban, 1 / 97),
    _p("vehicle", r"[a-z0-9]{17}", r"\b[A-HJ-NPR-Z0-9]{17}\b", _is_vin, 1 / 11),
    _p("fax", "fax", rf"\bfax\b[:. #]*(?:number|no\.?)?[:. #]*({_PHONE})(?![\w])", flags=_I),
    _p("ssn", r"\d{3}-\d{2}-\d{4}", r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])", _is_ssn),
    _numbered("ssn", r"ssn|social", "ssn|social security", r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    _p("mrn", r"\d{3} \d{3} \d{4}", r"(?<![\w.-])\d{3} \d{3} \d{4}(?![\w]|[.-]\d)", _is_nhs, 1 / 11),
    _p("mrn", r"^\s*\d{10}\s*$", r"^\s*(\d{10})\s*$", _is_nhs, 1 / 11),
    _numbered("mrn", r"mrn|medical record|patient|chart|hospital|nhs", "mrn|medical record|patient (?:id|no|number)|chart|hospital (?:no|number)|nhs", _CODE),
    _numbered("health-plan", r"member|policy|beneficiary|subscriber|plan|medic", "(?:member|policy|beneficiary|subscriber|health plan|insurance|medicare|medicaid)", rf"(?=[\w-]{{5}}){_CODE}"),
    _p("health-plan", r"\d[a-z][a-z0-9]\d-?[a-z][a-z0-9]\d-?[a-z]{2}\d{2}",
       r"\b[1-9][AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9]\d-?[AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9]\d-?[AC-HJKMNP-RT-Y]{2}\d{2}\b"),
    _numbered("vehicle", r"plate|registration|vin", "licen[cs]e plate|number plate|plate|vin", r"(?=[A-Z0-9 -]*\d)[A-Z0-9]{1,4}(?:[ -]?[A-Z0-9]{1,4}){1,5}"),
    _numbered("licence", r"licen|certificate|passport|dea|npi", "driver'?s? licen[cs]e|licen[cs]e|certificate|passport|dea|npi", rf"(?=[\w-]{{5}}){_CODE}"),
    _p("licence", r"[a-z][a-z9]\d{7}", r"\b[ABCDEFGHJKLMPRSTUX][A-Z9]\d{7}\b", _is_dea, 1 / 10),
    _numbered("account", r"acc", "account|acct", rf"(?=[\w-]{{5}}){_CODE}"),
    _numbered("device", r"serial|s/n|udi|imei|device|implant", "serial|s/n|udi|imei|device|implant|pacemaker", rf"(?=[\w()/.-]{{5}})(?:\(01\)\d{{14}}[\w()]*|{_CODE})"),
    _p("device", r"\(01\)\d{14}", r"\(01\)\d{14}(?:\(\d{2}\)[\w-]{1,20}){0,4}"),
    _p("device", r"^\s*\d{15}\s*$", r"^\s*(\d{15})\s*$", _is_imei, 1 / 10),
    _numbered("biometric", r"finger|voice|retina|iris", "finger ?print|voice ?print|retinal? scan|iris (?:scan|code)", rf"(?=[\w-]{{4}}){_CODE}"),
    _p("account", r"(\d[ -]?){13}", r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)", _is_card, 1 / 10),
    _p("phone", r"[2-9]\d{2}[-. )]{1,2}[2-9]\d{2}[-. ]\d{4}|\+\d", rf"(?<![\w.-]){_PHONE}(?![\w]|[.-]\d)", _is_phone),
    _p("zip", r"\d{5}-\d{4}", r"(?<![\w-])\d{5}-\d{4}(?![\w-])"),
    _p("zip", r"[a-z]{3},? +[a-z]{2}\.? +\d{5}", rf"[A-Za-z]{{3}},? +(?:{_STATES})\.? +(\d{{5}})(?![\w-])"),
    _p("place", rf"\d+ .*\b({_STREET})\b", rf"\b\d{{1,6}} (?:[NSEW]\.? )?(?:[A-Za-z0-9'.-]{{2,25}} ){{1,3}}?(?:{_STREET})\b\.?", flags=_I),
    _p("date", r"\d{4}[-/.]\d{1,2}[-/.]\d", r"(?<![\w-])\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?(?![\w])", _is_day),
    _p("date", r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2}", r"(?<![\w./-])\d{1,2}(?:/\d{1,2}/(?:\d{4}|\d{2})|\.\d{1,2}\.\d{4}|-\d{1,2}-\d{4})(?![\w]|[./-]\d)", _is_day),
    _p("date", _MONTH.replace("(?:", "("), rf"(?<!\w)(?:\d{{1,2}}(?:st|nd|rd|th)?(?: of)?[ -]{_MONTH}\.?,?(?:[ -](?:\d{{4}}|\d{{2}})\b)?|{_MONTH}\.? \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?|{_MONTH}\.?,? \d{{4}})(?!\w)", flags=_I),
    _p("age", r"(9\d|1[0-2]\d)[- ]?y", r"(?<![\w.])(?:9\d|1[0-2]\d)(?=[- ]?(?:years?|yrs?|y)[-/ ]?(?:old|o)\b)", flags=_I),
    _p("age", r"age", r"\baged? (?:of )?(9\d|1[0-2]\d)(?![\w.])", flags=_I),
    _p("name", r"\b(mr|mrs|ms|miss|dr|prof|herr|frau|mme)\b",
       r"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|Herr|Frau|Mme)\b\.? (?:[A-Z]\. )?[A-Z][\w'-]+(?: (?:[A-Z]\. )?[A-Z][\w'-]+){0,2}"),
)  # fmt: skip
"""All of them; where two match the same text, the earlier one names it."""

TAGS = {kind: f"[{kind.upper()}]" for kind in {pattern.kind for pattern in PATTERNS}}
"""What takes the place of an identifier in a text."""


@cache
def require_libraries() -> None:
    """The libraries that know check digits and phone numbers.

    Raises:
        ConfigError: they are not installed.
    """
    try:
        import phonenumbers  # noqa: F401
        import stdnum  # noqa: F401
    except ModuleNotFoundError as error:
        raise ConfigError(
            "looking for identifiers needs casemate[deidentify]: pip install"
            " 'casemate[deidentify]'",
            hint=f"this Python has no module {error.name!r}",
        ) from error


def hits(text: str, patterns: tuple[Pattern, ...] = PATTERNS) -> list[Hit]:
    """What stands in a text, from left to right, none over another."""
    taken: list[Hit] = []
    covered = bytearray(len(text))
    for pattern in patterns:
        for found in pattern.exact.finditer(text):
            group = 1 if pattern.exact.groups else 0
            start, end = found.span(group)
            if 1 in covered[start:end]:
                continue
            if pattern.check is None or pattern.check(text[start:end]):
                taken.append(Hit(start, end, pattern))
                covered[start:end] = b"\1" * (end - start)
    return sorted(taken, key=lambda one: one.start)


def redacted(text: str) -> tuple[str, int]:
    """(the text with every identifier replaced by its kind in brackets, how many were)."""
    found = hits(text)
    for one in reversed(found):
        text = text[: one.start] + TAGS[one.pattern.kind] + text[one.end :]
    return text, len(found)


def masked(text: str) -> str:
    """The outline of a value, which tells nothing of it: letters are `a`, digits `9`."""
    outline = "".join(
        "9" if sign.isdigit() else "a" if sign.isalpha() else sign if sign.isprintable() else "?"
        for sign in text[:25]
    )
    return outline[:24] + ("…" if len(outline) > 24 else "")
