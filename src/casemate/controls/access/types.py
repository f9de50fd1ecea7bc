"""The one word for whoever acts."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from casemate.core.errors import VerificationError


@dataclass(frozen=True)
class Principal:
    """A user or a service: somebody who acts and has roles."""

    kind: str
    """`User` or `Service`."""
    name: str
    roles: tuple[str, ...]
    models: tuple[str, ...] = ()
    """Services: models that they may ask; `*` for all."""
    mfa: bool = False
    """Users: a second factor is enrolled."""

    @property
    def uid(self) -> str:
        """Cedar's name for it, such as `User::"ana"`."""
        return f'{self.kind}::"{self.name}"'


def closure(roles: Iterable[str], includes: Mapping[str, Iterable[str]]) -> set[str]:
    """These roles and all that they include, directly or through others."""
    wanted, found = list(roles), set[str]()
    while wanted:
        if (role := wanted.pop()) not in found:
            found.add(role)
            wanted += includes.get(role, ())
    return found


def principal_of(uid: str) -> Principal:
    """The principal that a record names, without its roles; VerificationError when it is no name of
    one.
    """
    match = re.fullmatch(r'(User|Service)::"([^"\\]+)"', uid)
    if match is None:
        raise VerificationError(
            f"{uid!r} is not a principal", hint="the catalogue was changed: casemate fsck"
        )
    return Principal(match[1], match[2], ())
