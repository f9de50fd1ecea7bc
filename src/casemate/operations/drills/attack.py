"""What an attack is: what somebody would do, what should see it, and what should stop it.

An attack knows what it did. Whether that was seen is never its own word: it asks a gate, a screen,
the gateway, a rule of the watcher or a verification, as a user would, and says which one answered.
"""

from collections.abc import Callable
from dataclasses import dataclass

from casemate.operations.drills.scene import Scene
from casemate.operations.drills.seen import Seen
from casemate.stages.release.drill import Played, Verdict


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One attack of the catalogue."""

    id: str
    title: str
    technique: str
    """Of MITRE ATLAS v5, such as `AML.T0020`."""
    weakness: str = ""
    """Of CWE, where it is one of software."""
    detects: str
    """What should see it."""
    contains: str = ""
    """What should keep it from doing harm; empty: seeing it is all that is claimed."""
    within: float
    """Seconds from the attack's act in which both are expected."""
    play: Callable[[Scene], Seen]

    def told(
        self, verdict: Verdict, seen: Seen | None = None, said: str = "", took: float = 0.0
    ) -> Played:
        """What became of it.

        Args:
            verdict: in one word.
            seen: what was seen of it.
            said: instead of what was said then.
            took: seconds.
        """
        seen = seen or Seen()
        return Played(
            attack=self.id,
            title=self.title,
            technique=self.technique,
            weakness=self.weakness,
            detects=self.detects,
            contains=self.contains if seen.owed else "",
            within=self.within,
            verdict=verdict,
            detected=seen.detected,
            contained=seen.contained,
            said=said or seen.said,
            took=round(took, 3),
        )

    def judged(self, seen: Seen, took: float) -> Played:
        """The verdict on what was seen. What comes later than it should counts as not seen: who
        attacks does not wait.

        Args:
            seen: by casemate's parts.
            took: seconds.
        """
        late = [
            f"{what} after {one.seconds:.1f} s, later than {self.within:g} s"
            for what, one in (("detected", seen.detected), ("contained", seen.contained))
            if one is not None and one.seconds > self.within
        ]
        is_seen = seen.detected is not None and seen.detected.seconds <= self.within
        is_contained = seen.contained is not None and seen.contained.seconds <= self.within
        verdict: Verdict = "missed" if not is_seen else "contained" if is_contained else "detected"
        return self.told(verdict, seen, "; ".join([*late, *([seen.said] * bool(seen.said))]), took)
