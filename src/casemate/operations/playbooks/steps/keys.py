"""Steps about key-encryption keys."""

from casemate.controls.keys.interface import PURPOSES
from casemate.core.errors import ConfigError, RefusedError
from casemate.operations.keys import rotation
from casemate.operations.keys.wrapped import uses
from casemate.operations.playbooks.asking import Unproven
from casemate.operations.playbooks.steps import Doing
from casemate.respond.playbooks.runs import Aim
from casemate.wiring import Wiring

GONE = ("disabled", "destroyed")
"""States of a version that unwraps nothing."""


def _newest(project: Wiring, key: str) -> int:
    if key not in PURPOSES:
        raise ConfigError(f"there is no key {key[:80]!r}", hint="keys: " + ", ".join(PURPOSES))
    return project.keystore.provider.versions()[key][-1].number


def _older(project: Wiring, key: str, version: int) -> int:
    """Wrapped keys that are under this version or an older one."""
    held = uses(project).items()
    return sum(count for (name, number), count in held if name == key and number <= version)


class Rotate:
    """What was under the version that was active is under a newer one."""

    def aim(self, project: Wiring, of: str, incident: int) -> Aim:
        """See `Doing`."""
        return Aim(target=of, before=str(_newest(project, of)))

    def says(self, aim: Aim) -> str:
        """See `Doing`."""
        return f"rotate the key {aim.target}, whose active version is {aim.before}"

    def is_done(self, project: Wiring, aim: Aim) -> bool:
        """See `Doing`."""
        made = _newest(project, aim.target) > int(aim.before)
        return made and not _older(project, aim.target, int(aim.before))

    def do(self, project: Wiring, aim: Aim, why: str) -> None:
        """Go on with a rotation that was interrupted, instead of making one version more."""
        made = _newest(project, aim.target) > int(aim.before)
        rotation.rotate(project, [aim.target], resume=made)

    def proof(self, project: Wiring, aim: Aim) -> str:
        """See `Doing`."""
        if not self.is_done(project, aim):
            raise Unproven(f"something is still under version {aim.before} of {aim.target}")
        newest = _newest(project, aim.target)
        return f"version {newest} of {aim.target} is active, and nothing is under an older one"

    def undo(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        raise RefusedError("a rotation is not taken back", hint="the former version still unwraps")


class Disable:
    """What somebody may have copied under an old version cannot be unwrapped here."""

    def aim(self, project: Wiring, of: str, incident: int) -> Aim:
        """See `Doing`."""
        former = _newest(project, of) - 1
        if former < 1:
            raise RefusedError(
                f"{of} has no version before the active one", hint=f"casemate keys rotate {of}"
            )
        found = project.keystore.provider.versions()[of]
        oldest = next((one.number for one in found if one.state not in GONE), former)
        return Aim(target=of, before=str(former), also=(str(min(oldest, former)),))

    def says(self, aim: Aim) -> str:
        """See `Doing`."""
        return f"disable version {aim.before} of {aim.target} and older ones"

    def is_done(self, project: Wiring, aim: Aim) -> bool:
        """See `Doing`."""
        found = project.keystore.provider.versions()[aim.target]
        return all(one.state in GONE for one in found if one.number <= int(aim.before))

    def do(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        rotation.disable(project, aim.target, int(aim.before))

    def proof(self, project: Wiring, aim: Aim) -> str:
        """See `Doing`."""
        if not self.is_done(project, aim):
            raise Unproven(f"version {aim.before} of {aim.target} is enabled")
        return f"the key store refuses version {aim.before} of {aim.target} and older ones"

    def undo(self, project: Wiring, aim: Aim, why: str) -> None:
        """See `Doing`."""
        rotation.enable(project, aim.target, int(aim.also[0]))  # and all newer ones


STEPS: dict[str, Doing] = {"rotate-key": Rotate(), "disable-key": Disable()}
