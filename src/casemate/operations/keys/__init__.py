"""Keys and certificates: looked at, rotated, protected, saved, destroyed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from casemate.operations.acting import Noun
from casemate.operations.keys import custody, looking, rotation

if TYPE_CHECKING:
    from casemate.operations.keys.erasure import Erased


class Keys(Noun):
    """The key store of a project, by its verbs."""

    list = looking.listing
    show = looking.show
    rotate = rotation.rotate
    disable = rotation.disable
    enable = rotation.enable
    destroy = rotation.destroy
    migrate = rotation.migrate
    protect = custody.protect
    save = custody.save
    signers = looking.signers
    new_signer = rotation.new_signer
    distrust = rotation.distrust
    certificates = looking.certificates
    issue = custody.issue
    renew = custody.renew
    revoke = custody.revoke
    revocations = looking.revocations

    def erase(
        self, subject: str | Callable[[], str], *, look: bool = False, blank: bool = False
    ) -> "Erased":
        """See `operations.keys.erasure.erase`."""
        from casemate.operations.keys import erasure  # not at start-up: it reads tables

        return erasure.erase(self.project, subject, look=look, blank=blank)

    def remember_passphrase(self, reference: str) -> None:
        """Let casemate.toml say where the key store's passphrase comes from."""
        custody.remember_passphrase(self.project, reference)

    def brought_back(self, how: Literal["recover", "restore"]) -> None:
        """Record that the key store was recovered or restored, which nobody could be asked about
        before.
        """
        custody.brought_back(self.project, how)
