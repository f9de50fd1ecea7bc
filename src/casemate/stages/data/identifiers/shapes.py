"""What identifiers look like inside text.

Each shape is given twice: loosely in RE2, with which Arrow goes through a whole column, and
exactly, for the cells that are left. No exact one repeats a repetition without a bound.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from casemate.config.deidentify import Identifier
from casemate.stages.data.identifiers import checks


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


_MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_STATES = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|DC|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM"
    "|NY|NC|ND|OH|OK|OR|PA|PR|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY"
    "|AS|FM|GU|MH|MP|PW|VI|AA|AE|AP"
)
_STREET = (
    r"street|st|avenue|ave|road|rd|boulevard|blvd|lane|ln|drive|dr|court|ct|way|highway|hwy"
    r"|parkway|pkwy"
)
_SUFFIX = (
    "Alley|Annex|Bend|Bluffs?|Branch|Bridge|Brooks?|Bypass|Canyon|Cape|Causeway|Center|Circles?"
    "|Cliffs?|Club|Commons?|Corners?|Course|Coves?|Creek|Crescent|Crest|Crossing|Curve|Dale|Dam"
    "|Divide|Estates?|Expressway|Extensions?|Falls|Ferry|Fields?|Flats?|Fords?|Forest|Forges?|Forks?"
    "|Fort|Freeway|Gardens?|Gateway|Glens?|Greens?|Groves?|Harbors?|Haven|Heights|Hills?|Hollow"
    "|Inlet|Islands?|Isle|Junctions?|Keys?|Knolls?|Lakes?|Landing|Lights?|Loaf|Locks?|Lodge|Loop"
    "|Mall|Manors?|Meadows?|Mews|Mills?|Mission|Motorway|Mount|Mountains?|Neck|Orchard|Oval"
    "|Overpass|Parks?|Pass|Passage|Path|Pike|Pines?|Place|Plains?|Plaza|Points?|Ports?|Prairie"
    "|Radial|Ramp|Ranch|Rapids?|Rest|Ridges?|River|Route|Row|Run|Shoals?|Shores?|Springs?|Spurs?"
    "|Squares?|Station|Stravenue|Stream|Summit|Terrace|Throughway|Trace|Track|Trafficway|Trail"
    "|Tunnel|Turnpike|Underpass|Unions?|Valleys?|Via|Viaduct|Views?|Villages?|Ville|Vista|Walks?"
    "|Wall|Ways?|Wells?|Drives?|Streets?|Roads?|Lanes?|Courts?|Avenues?|Boulevard|Parkways?"
)
"""Suffixes of streets in USPS Publication 28, appendix C1; with capitals only, for many are words
of clinical notes as well."""
_US_PHONE = (
    r"(?:(?:\+|00)?1[-. ])?(?:\([2-9]\d{2}\) ?|[2-9]\d{2}[-. ])[2-9]\d{2}[-. ]\d{4}(?: ?x\d{1,5})?"
)
_TRUNK = r"(?:\(0\d{1,5}\)|0\d{1,5})[ /-]?\d{2,6}(?:[ -]?\d{2,6}){0,3}"
"""Of countries where numbers begin with a zero; among words only."""
_PHONE = rf"(?:{_US_PHONE}|\+\d[\d ().-]{{6,18}}\d)"
_CODE = r"[A-Z]{0,4}[-/]?\d[\dA-Z]*(?:[-/.][\dA-Z]{1,12}){0,4}"
_I = re.IGNORECASE

_YEAR = r"(?:\d{4}|\d{2})\b"
_DAY_MONTH = rf"\d{{1,2}}(?:st|nd|rd|th)?(?: of)?[ -]{_MONTH}\.?,?(?:[ -]{_YEAR})?"
_MONTH_DAY = rf"{_MONTH}\.? \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?"
_TIME = r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?)?"
_UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_HEX = "[0-9A-F]"
_MBI = "[AC-HJKMNP-RT-Y]"
_PICTURE = r"jpe?g|png|gif|bmp|tiff?|dcm|heic"
_TITLE = "Mr|Mx|Mrs|Ms|Miss|Dr|Prof|Herr|Frau|Mme"
_CAPITALS = r"(?:MRS|MISS|PROF|HERR|FRAU|MME)\b\.?|(?:MR|MX|MS|DR)\."
"""With a point where the word has another meaning in a clinic: MR of the brain, MS since 2010."""
_BEFORE = r"(?:(?:van|von|vom|de|del|der|den|di|da|dos|du|la|le|ter|ten|zu|bin|ibn|al|el) ){0,3}"
_WORD = rf"(?:[A-Z]\. )?{_BEFORE}(?:d'|al-|el-)?[A-Z][\w'-]+"
_PLAN = "member|policy|beneficiary|subscriber|health plan|insurance|medicare|medicaid"
_RECORD = "mrn|medical record|patient (?:id|no|number)|chart|hospital (?:no|number)|nhs"
_LICENCE = "driver'?s? licen[cs]e|licen[cs]e|certificate|passport|dea|npi"
_DEVICE = "serial|s/n|udi|imei|device|implant|pacemaker"
_BODY = "finger ?print|voice ?print|retinal? scan|iris (?:scan|code)"
_PLATE = r"(?=[A-Z0-9 -]*\d)[A-Z0-9]{1,4}(?:[ -]?[A-Z0-9]{1,4}){1,5}"

PATTERNS: tuple[Pattern, ...] = (
    _p("email", "@", r"[\w.%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}"),
    _p(
        "url",
        r"://|www\.",
        r"\b(?:https?|ftp)://[^\s<>\"']{2,2000}|\bwww\.[\w-]{1,63}\.[^\s<>\"']{2,2000}",
        flags=_I,
    ),
    _p(
        "device",
        r"[0-9a-f]{2}[:-][0-9a-f]{2}[:-]",
        rf"\b(?:{_HEX}{{2}}[:-]){{5}}{_HEX}{{2}}\b",
        flags=_I,
    ),
    _p("other-id", r"[0-9a-f]{8}-[0-9a-f]{4}-", rf"\b{_UUID}\b", flags=_I),
    _p(
        "ip",
        r"\d\.\d{1,3}\.\d{1,3}\.\d",
        r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?!\w|\.\d)",
        checks.is_ip,
    ),
    _p(
        "ip",
        r"[0-9a-f]*:[0-9a-f]*:",
        rf"(?<![\w:.])(?:{_HEX}{{0,4}}:){{2,7}}{_HEX}{{0,4}}(?![\w:])",
        checks.is_ip,
        flags=_I,
    ),
    _p(
        "photo",
        rf"data:image|\.({_PICTURE})\b",
        rf"data:image/\S+|[^\s/\\]{{1,255}}\.(?:{_PICTURE})\b",
        flags=_I,
    ),
    _p(
        "account",
        r"[a-z]{2}\d{2} ?[a-z0-9]{4}",
        r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b",
        checks.is_iban,
        1 / 97,
    ),
    _p("vehicle", r"[a-z0-9]{17}", r"\b[A-HJ-NPR-Z0-9]{17}\b", checks.is_vin, 1 / 11),
    _p("fax", "fax", rf"\bfax\b[:. #]*(?:number|no\.?)?[:. #]*({_PHONE})(?!\w)", flags=_I),
    _p("ssn", r"\d{3}-\d{2}-\d{4}", r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"),
    _numbered("ssn", "ssn|social", "ssn|social security", r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    _p(
        "mrn",
        r"\d{3} \d{3} \d{4}",
        r"(?<![\w.-])\d{3} \d{3} \d{4}(?!\w|[.-]\d)",
        checks.is_nhs,
        1 / 11,
    ),
    _p("mrn", r"^\s*\d{10}\s*$", r"^\s*(\d{10})\s*$", checks.is_nhs, 1 / 11),
    _numbered("mrn", "mrn|medical record|patient|chart|hospital|nhs", _RECORD, _CODE),
    _numbered("health-plan", _PLAN, f"(?:{_PLAN})", rf"(?=[\w-]{{5}}){_CODE}"),
    _p(
        "health-plan",
        r"\d[a-z][a-z0-9]\d-?[a-z][a-z0-9]\d-?[a-z]{2}\d{2}",
        rf"\b[1-9]{_MBI}(?:{_MBI}|\d)\d-?{_MBI}(?:{_MBI}|\d)\d-?{_MBI}{{2}}\d{{2}}\b",
    ),
    _numbered("vehicle", "plate|vin", "licen[cs]e plate|number plate|plate|vin", _PLATE),
    _numbered("licence", "licen|certificate|passport|dea|npi", _LICENCE, rf"(?=[\w-]{{5}}){_CODE}"),
    _p("licence", r"[a-z][a-z9]\d{7}", r"\b[A-HJ-MPRSTUX][A-Z9]\d{7}\b", checks.is_dea, 1 / 10),
    _numbered("account", "acc", "account|acct", rf"(?=[\w-]{{5}}){_CODE}"),
    _numbered("device", _DEVICE, _DEVICE, rf"(?=[\w()/.-]{{5}})(?:\(01\)\d{{14}}[\w()]*|{_CODE})"),
    _p("device", r"\(01\)\d{14}", r"\(01\)\d{14}(?:\(\d{2}\)[\w-]{1,20}){0,4}"),
    _p("device", r"^\s*\d{15}\s*$", r"^\s*(\d{15})\s*$", checks.is_imei, 1 / 10),
    _numbered("biometric", "finger|voice|retina|iris", _BODY, rf"(?=[\w-]{{4}}){_CODE}"),
    _p(
        "account",
        r"(\d[ -]?){12}",
        r"(?<![\w.-])\d(?:[ -]?\d){11,18}(?![\w-]|\.\d)",
        checks.is_card,
        1 / 10,
    ),
    _p(
        "phone",
        r"[2-9]\d{2}[-. )]{1,2}[2-9]\d{2}[-. ]\d{4}|\+\d",
        rf"(?<![\w.-]){_PHONE}(?!\w|[.-]\d)",
        checks.is_phone,
    ),
    _p(
        "phone",
        r"\d{10}",
        r"(?:(?<=\S )|(?<=[:=#(])|(?<![^\s])(?=\d{10}[,;.]? [A-Za-z]))"
        r"[2-9]\d{2}[2-9]\d{6}(?!\w|[.-]\d)",
    ),
    _p("phone", r"\b0\d", rf"(?<=\S ){_TRUNK}(?!\w|[.-]\d)", checks.has_phone_length),
    _p("zip", r"\d{5}-\d{4}", r"(?<![\w-])\d{5}-\d{4}(?![\w-])"),
    _p(
        "zip",
        r"[a-z]{3},? +[a-z]{2}\.? +\d{5}",
        rf"[A-Za-z]{{3}},? +(?:{_STATES})\.? +(\d{{5}})(?![\w-])",
    ),
    _p(
        "place",
        rf"\d+ .*\b({_STREET})\b",
        rf"\b\d{{1,6}} (?:[NSEW]\.? )?(?:[A-Za-z0-9'.-]{{2,25}} ){{1,3}}?(?:{_STREET})\b\.?",
        flags=_I,
    ),
    _p(
        "place",
        rf"\d+ .*\b({_SUFFIX.lower()})\b",
        rf"\b\d{{1,6}} (?:[NSEW]\.? )?(?:[A-Z][\w'-]+ ){{1,3}}?(?:{_SUFFIX})\b(?: [NSEW]\b)?",
    ),
    _p(
        "date",
        r"\d{4}[-/.]\d{1,2}[-/.]\d",
        rf"(?<![\w-])\d{{4}}[-/.]\d{{1,2}}[-/.]\d{{1,2}}{_TIME}(?!\w)",
        checks.is_day,
    ),
    _p(
        "date",
        r"\d{1,2}[-/.]\d{1,2}[-/.]\d{2}",
        # 1.10.24 is a version as well
        r"(?<![\w./-])\d{1,2}(?:/\d{1,2}/(?:\d{4}|\d{2})|\.\d{1,2}\.\d{4}|(?<=\d\d)\.\d\d\.\d\d"
        r"|-\d{1,2}-(?:\d{4}|\d{2}))(?!\w|[./-]\d)",
        checks.is_day,
    ),
    _p(
        "date",
        r"(19|20)\d{2}-(0[1-9]|1[0-2])",
        # among words only: a season is called 2009-10
        r"(?:(?<=\S )|(?=.{7}[,;.]? \S))(?<![\w./-])(?:19|20)\d{2}-(?:0[1-9]|1[0-2])(?![\w-]|\.\d)",
    ),
    _p(
        "date",
        _MONTH.replace("(?:", "("),
        rf"(?<!\w)(?:{_DAY_MONTH}|{_MONTH_DAY}|{_MONTH}\.?,? \d{{4}})(?!\w)",
        flags=_I,
    ),
    _p(
        "age",
        r"(9\d|1[0-2]\d)[- ]?y",
        r"(?<![\w.])(?:9\d|1[0-2]\d)(?=[- ]?(?:years?|yrs?|y)[-/ ]?(?:old|o)\b)",
        flags=_I,
    ),
    _p("age", "age", r"\baged? (?:of )?(9\d|1[0-2]\d)(?![\w.])", flags=_I),
    _p(
        "name",
        rf"\b({_TITLE})\b",
        rf"\b(?:(?:{_TITLE})\b\.?|{_CAPITALS}) {_WORD}(?: {_WORD}){{0,2}}",
    ),
)
"""All of them; where two match the same text, the earlier one names it."""
