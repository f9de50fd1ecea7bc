"""What a coordinator knows of each site of a job."""

from collections import deque
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from casemate.controls.federation import cards
from casemate.controls.federation.messages import (
    Ask,
    FromCoordinator,
    Hand,
    Heard,
    Reveal,
    Roster,
    Told,
    Turn,
)

MOST_TOLD = 100
"""Words about its answers that are kept for a site that does not fetch them."""
Asked = Ask | Roster | Hand | Heard | Reveal


@dataclass
class Place:
    """What is known of one site."""

    card: cards.Card
    introduction: bytes = b""
    key: Ed25519PublicKey | None = None
    rows: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    gone: str = ""
    """Why it does not take the job."""
    absent: bool = False
    """It missed a deadline, and nothing was heard of it since."""
    asked: Asked | None = None
    reading: bool = False
    """An answer to what was asked is being looked at."""
    answered: tuple[Turn, str, FromCoordinator] | None = None
    """The last turn that it answered, the digest of the answer, and what it got for it."""
    told: deque[Told] = field(default_factory=lambda: deque(maxlen=MOST_TOLD))
    met: bool = False
    """Something was heard of it, as yet."""
    dismissed: bool = False
    """It knows that the job is over."""

    @property
    def ready(self) -> bool:
        """Whether it can be asked now."""
        return self.key is not None and not self.gone and not self.absent
