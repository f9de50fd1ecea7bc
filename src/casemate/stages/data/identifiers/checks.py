"""Check digits and other rules that tell an identifier from digits that look like one.

python-stdnum has IBAN (ISO 7064), Luhn, NHS and IMEI; phonenumbers is Google's
libphonenumber.
"""

import ipaddress
import re
from functools import cache

from casemate.core.errors import ConfigError


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def is_card(text: str) -> bool:
    """12 to 19 digits with a right last one (Luhn, ISO/IEC 7812-1)."""
    from stdnum import luhn

    digits = _digits(text)
    # first digits of ISO/IEC 7812 that banks, travel and credit have
    is_issued = digits.startswith(("2", "3", "4", "5", "6", "1800"))
    return 12 <= len(digits) <= 19 and is_issued and bool(luhn.is_valid(digits))


def is_iban(text: str) -> bool:
    """An account number by ISO 13616."""
    from stdnum import iban

    return bool(iban.is_valid(text))


def is_nhs(text: str) -> bool:
    """Ten digits of the National Health Service, modulus 11."""
    from stdnum.gb import nhs

    return bool(nhs.is_valid(text))


def is_imei(text: str) -> bool:
    """15 digits of a mobile phone."""
    from stdnum import imei

    return bool(imei.is_valid(text)) and len(_digits(text)) == 15


def has_phone_length(text: str) -> bool:
    """So many digits as national numbers with a zero in front have."""
    return 9 <= len(_digits(text)) <= 12


def is_phone(text: str) -> bool:
    """So many digits as its country has."""
    import phonenumbers

    try:
        found = phonenumbers.parse(re.sub(r"^00", "+", text), "US")
    except phonenumbers.NumberParseException:
        return False
    return bool(phonenumbers.is_possible_number(found))


def is_ip(text: str) -> bool:
    """An address of IPv4 or IPv6."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return len(text) > 4  # `::` and `::1` are nobody's


def is_day(text: str) -> bool:
    """A day and a month that there are, in any order."""
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
"""Of each place, 49 CFR 565.15(c); the check digit itself weighs nothing."""


def is_vin(text: str) -> bool:
    """By the check digit of 49 CFR 565.15(c), which cars sold in North America have."""
    rest = sum(_VIN[sign] * weight for sign, weight in zip(text, _WEIGHTS, strict=True)) % 11
    return text[8] == "0123456789X"[rest] and not text.isdigit()


def is_dea(text: str) -> bool:
    """A prescriber's number of the Drug Enforcement Administration."""
    digits = [int(sign) for sign in text[2:]]
    return (sum(digits[0:6:2]) + 2 * sum(digits[1:6:2])) % 10 == digits[6]


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
