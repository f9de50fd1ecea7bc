"""What a column's name says: words that people use for keys, persons, codes, times and protected
attributes.

A name alone decides nothing; it decides between readings that the cells allow.
"""

import re

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|#")


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_COMPOUND = re.compile(r"(.{3,})(nummer|nr)")
"""German: `Kundennummer` is two words."""
IDS = _set("id ids uid uuid guid identifier mrn ssn iban pid nummer")
NUMBERED = _set("key nr no num number nbr code numero")
PERSONS = _set(
    "patient patients person subject customer client user member employee student household "
    "participant resident passenger applicant borrower individual proband insured citizen mrn "
    "ssn pid kunde kundin klient versicherter mitglied paciente cliente"
)
OF_PERSONS = _set(
    "pat patienten kunden klienten mitarbeiter personal versicherten mitglieds probanden bewohner"
)
"""Persons beside the word for a key only: alone they count many, or say something else."""
FIRST = _set("id numero")
"""Words for a key that stand before the person."""
CONTACTS = _set(
    "email mail phone telephone telefon mobile handy fax surname lastname firstname fullname "
    "nachname vorname familienname username login"
)
"""What tells who somebody is, however often it is there."""
ADDRESSES = _set("address adresse")
CODES = _set(
    "zip zipcode postal postcode plz icd icd9 icd10 fips naics sic cpt ndc drg loinc snomed code"
    " codes cd"
)
"""Digits under such a name say which, not how much."""
GROUPS = _set(
    "ward dept department site store region district branch clinic hospital type kind group status"
)
"""The same where few different ones are there."""
TIMES = _set(
    "date dt day time timestamp ts datetime created updated epoch unix admitted admission"
    " discharged discharge at on when"
)
LENGTHS = _set(
    "duration durations elapsed length took lasted dauer runtime uptime wait waiting los delay lap"
    " pace"
)
"""Words for how long something took."""
BIRTHS = _set("birth birthdate birthday dateofbirth dob born geburtsdatum")
ROWS = frozenset(
    {
        "",
        "unnamed: 0",
        "index",
        "row",
        "row_id",
        "rowid",
        "row_number",
        "rownum",
        "__index_level_0__",
        "#",
        "nr",
        "no",
        "lfd_nr",
    }
)
"""Whole names of what counts rows; pandas writes its index as an empty name, and reads that back as
`Unnamed: 0`.
"""
_UNNAMED = re.compile(r"unnamed_\d+")
"""What a column without a name is called here."""
PROTECTED = _set(
    "age sex gender geschlecht race racial ethnicity ethnic hispanic religion religious "
    "nationality nativity citizenship citizen marital married disability disabled pregnant "
    "pregnancy orientation caste skin birth dob birthdate birthday"
)
CENSUS = _set(
    "AGEP SEX RAC1P RAC2P RAC3P RACBLK RACASN RACWHT HISP MAR CIT DIS NATIVITY POBP ANC1P"
)
"""Protected attributes as the American Community Survey codes them (its PUMS data dictionary)."""


def words(name: str) -> list[str]:
    """`RAC1P_cd` -> `rac`, `1`, `p`, `cd`."""
    found: list[str] = []
    for word in _WORD.findall(name):
        compound = _COMPOUND.fullmatch(word.lower())
        found += compound.groups() if compound else [word.lower()]
    return found


def counts(name: str) -> bool:
    """Whether a column is called like one that counts rows."""
    plain = name.strip().lower()
    return plain in ROWS or _UNNAMED.fullmatch(plain) is not None


def protected(name: str) -> bool:
    """Whether a name speaks of an attribute that laws protect (EU Charter, article 21)."""
    return name in CENSUS or not PROTECTED.isdisjoint(words(name))


def person(name: str) -> bool:
    """Whether a name says which person a row is about: `patient`, `customer_id`, not
    `customer_type`.
    """
    found = words(name)
    if len(found) == 1:
        return found[0] in PERSONS
    named = not (PERSONS | OF_PERSONS).isdisjoint(found)
    return named and (found[-1] in IDS | NUMBERED or found[0] in FIRST)


def contact(name: str) -> bool:
    """Whether a name says what people are called or reached by: `email`, `phone_number`, not
    `email_domain`.
    """
    found = words(name)
    if found and found[-1] in IDS | NUMBERED | ADDRESSES:
        found = found[:-1]
    return bool(found) and found[-1] in CONTACTS


def key(name: str) -> bool:
    """Whether a name ends as those of keys do."""
    found = words(name)
    return bool(found) and found[-1] in IDS


def says(name: str, known: frozenset[str]) -> bool:
    """Whether one of `known` is among the words of a name."""
    return not known.isdisjoint(words(name))
