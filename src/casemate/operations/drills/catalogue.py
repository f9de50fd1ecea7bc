"""The attacks that are played, in their order."""

from collections.abc import Sequence

from casemate.core.errors import ConfigError
from casemate.operations.drills.attack import Attack
from casemate.operations.drills.attacks import (
    backdoor,
    bad_model,
    bound_token,
    cut_log,
    edited_log,
    extraction,
    forged_approval,
    forged_waiver,
    hostile_artifact,
    hostile_training,
    label_flips,
    memorising_model,
    overreach,
    own_approval,
    planted_file,
    probing,
    replayed_approval,
    replayed_code,
    revoked_token,
    rolled_back_log,
    served_model,
    stolen_certificate,
    tampered_export,
    tampered_model,
    tampered_rows,
    token_elsewhere,
    unsigned_model,
    weak_package,
    written_right,
)

ATTACKS: dict[str, Attack] = {
    one.ATTACK.id: one.ATTACK
    for one in (
        label_flips,
        backdoor,
        memorising_model,
        hostile_training,
        hostile_artifact,
        planted_file,
        weak_package,
        tampered_rows,
        tampered_model,
        unsigned_model,
        tampered_export,
        forged_waiver,
        forged_approval,
        replayed_approval,
        own_approval,
        written_right,
        replayed_code,
        edited_log,
        cut_log,
        rolled_back_log,
        revoked_token,
        token_elsewhere,
        overreach,
        extraction,
        probing,
        stolen_certificate,
        bound_token,
        bad_model,
        served_model,
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
