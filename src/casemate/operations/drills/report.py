"""A drill for people: a page, and the words that the command line prints in its table."""

from casemate.core.page import Section, page
from casemate.stages.release.drill import Drill, Moment, Played, Verdict

LEAD = (
    "Attacks were played on a copy of this project, with keys, catalogue and log of its own."
    " Whether one was seen is the word of the part that should see it: a screen, a gate, the"
    " gateway, a rule of the watcher, a verification. What could not be played is not passed."
)
VERDICTS: tuple[Verdict, ...] = ("contained", "detected", "missed", "not-played")
OUTCOMES = {True: "passed", False: "refused"}


def written(drill: Drill, signer: str) -> bytes:
    """The page as UTF-8 HTML that needs nothing else.

    Args:
        drill: what is told.
        signer: fingerprint of the signer's keys.
    """
    played = f"Played on {drill.time} in {drill.seconds:.0f} s, by casemate {drill.casemate}"
    points = [
        f"{played}, with {drill.rows} rows.",
        sentence(drill),
        f"Signed by keys with the SHA-256 {signer}: compare it over another channel.",
    ]
    if not drill.whole:
        points.append("Only some attacks were asked for.")
    points += [f"Left out: {name}, {why}" for name, why in drill.left_out.items()]
    heads = ["", "verdict", "attack", "technique", "weakness", "what", "seen by", "stopped by"]
    rows = [
        [
            OUTCOMES[one.holds] if one.verdict != "not-played" else "inconclusive",
            one.verdict,
            one.attack,
            one.technique,
            one.weakness,
            one.title,
            told(one.detected),
            told(one.contained),
        ]
        for one in drill.played
    ]
    expected = [
        [one.attack, one.detects, one.contains or "-", f"{one.within:g} s", one.said, one.took]
        for one in drill.played
    ]
    heads_expected = [
        *("attack", "should be seen by", "should be stopped by", "within", "what was seen"),
        "seconds",
    ]
    return page(
        f"Drill: {drill.project}",
        LEAD,
        [
            Section("Summary", points=points),
            Section("Attacks", heads=heads, rows=rows),
            Section("What was expected, and what was seen", heads=heads_expected, rows=expected),
            Section("How the copy differs", points=drill.differences),
        ],
    )


def told(moment: Moment | None) -> str:
    """Who, and after how long."""
    return "-" if moment is None else f"{moment.by} ({moment.seconds:.1f} s)"


def sentence(drill: Drill) -> str:
    """What a drill came to."""
    counts = ", ".join(f"{drill.count(one)} {one.replace('-', ' ')}" for one in VERDICTS)
    return f"{len(drill.played)} attacks: {counts}"


def why(one: Played) -> str:
    """Why an attack does not hold; empty: it does."""
    if one.holds:
        return ""
    if one.verdict == "not-played":
        return one.said
    if one.verdict == "missed":
        return f"{one.detects} has not seen it within {one.within:g} s. {one.said}".strip()
    return f"not stopped within {one.within:g} s: {one.contains}. {one.said}".strip()
