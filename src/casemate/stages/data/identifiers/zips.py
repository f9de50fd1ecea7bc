"""ZIP codes as Safe Harbor allows them: the first three digits, where more than 20,000 people live
under these (45 CFR 164.514(b)(2)(i)(B)).
"""

import re
from collections.abc import Collection

FEW_PEOPLE = frozenset(
    {
        *("036", "059", "063", "102", "203", "556", "692", "790", "821"),
        *("823", "830", "831", "878", "879", "884", "890", "893"),
    }
)
"""The 17 under which at most 20,000 people lived in the census of 2000, as the guidance on
de-identification of HHS (Office for Civil Rights, 26 November 2012, section 3.3) lists them."""
HIDDEN = "000"
_SHORT = re.compile(r"\s*\d{4}\s*")
_ZIP = re.compile(r"\s*(\d{3})(?:\d{2}(?:-?\d{4})?|\*{2}|[xX]{2})?\s*")


def whole(code: str) -> str:
    """A ZIP code that was read as a number with the zeros that it lost: 601 is 00601."""
    return code.strip().zfill(5) if code.strip().isdigit() else code


def first_three(code: str, few_people: Collection[str] = FEW_PEOPLE) -> str | None:
    """What may stay of a ZIP code; None of what is no ZIP code of the United States.

    >>> first_three("35233"), first_three("03601-1234"), first_three("EC1A 1BB")
    ('352', '000', None)
    """
    if _SHORT.fullmatch(code):  # a number has lost its zero: 3601 is 03601
        code = f"0{code.strip()}"
    found = _ZIP.fullmatch(code)
    if found is None:
        return None
    return HIDDEN if found[1] in few_people else found[1]
