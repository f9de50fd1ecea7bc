"""The attacks that are played, in their order."""

from collections.abc import Sequence

from casemate.core.errors import ConfigError
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.attacks import (
    backdoor,
    hostile_artifact,
    hostile_training,
    label_flips,
)

ATTACKS: dict[str, Attack] = {
    one.ATTACK.id: one.ATTACK
    for one in (
        label_flips,
        backdoor,
        hostile_artifact,
        hostile_training,
    )
}
"""By their names."""


def named(names: Sequence[str]) -> list[Attack]:
    """Attacks by their names, in the catalogue's order; none: all.

    Raises:
        ConfigError: there is none of a name.
    """
    for name in names:
        if name not in ATTACKS:
            raise ConfigError(
                f"there is no attack {name[:80]!r}", hint=f"attacks: {', '.join(ATTACKS)}"
            )
    return [one for one in ATTACKS.values() if not names or one.id in names]
