"""`make coverage` ends here: what was covered of each part, against a floor that only rises.

    python tests/floors.py fast < coverage.json            fails where a part lies below its floor in floors.json
    python tests/floors.py fast --raise < coverage.json    raises floors to what was measured, and lowers none

A figure is the share of lines and branches together, in percent, cut (not rounded) to one place. A
test run of another tier has floors of its own, because it covers other things.
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

FLOORS = Path(__file__).with_name("floors.json")
PARTS = {
    "all": ("casemate/",),
    "security": (
        "casemate/controls/",
        "casemate/core/sandbox/",
        "casemate/core/signatures",
        "casemate/verification",
    ),
    "controls/access": ("casemate/controls/access/",),
    "controls/audit": ("casemate/controls/audit/",),
    "controls/keys": ("casemate/controls/keys/",),
    "controls/privacy": ("casemate/controls/privacy/",),
    "core/sandbox": ("casemate/core/sandbox/",),
    "core/signatures": ("casemate/core/signatures",),
    "verification": ("casemate/verification",),
}
"""Parts, by the beginning of their modules' paths below `src/`."""
SLACK = 0.5
"""Points that a figure may lie below its floor: random orders and generated examples cover a few
lines more or less. The floor stays, so it adds up to no more.
"""


def measured(report: dict) -> dict[str, float]:
    """The figure of each part, from what `coverage json` writes. A part without a module is an
    error: it was renamed, and its floor with it.
    """
    files = {
        name.replace("\\", "/").rpartition("src/")[2]: found["summary"]
        for name, found in report["files"].items()
    }
    return {
        part: _share(part, [summary for name, summary in files.items() if name.startswith(starts)])
        for part, starts in PARTS.items()
    }


def _share(part: str, summaries: Iterable[dict]) -> float:
    done = of = 0
    for summary in summaries:
        done += summary["covered_lines"] + summary["covered_branches"]
        of += summary["num_statements"] + summary["num_branches"]
    if not of:
        raise SystemExit(
            f"{part}: no module of this part was measured; say its new place in tests/floors.py"
        )
    return done * 1000 // of / 10


def below(figures: dict[str, float], floors: dict[str, float]) -> list[str]:
    """A line for each part below its floor, or without one."""
    missing = [
        f"{part}: has no floor; run it once with --raise" for part in figures if part not in floors
    ]
    return missing + [
        f"{part}: {figures[part]} % is below its floor, {floor} %"
        for part, floor in floors.items()
        if figures.get(part, 0.0) < floor - SLACK
    ]


def raised(figures: dict[str, float], floors: dict[str, float]) -> dict[str, float]:
    """Floors that are nowhere lower than before."""
    return {part: max(figure, floors.get(part, 0.0)) for part, figure in figures.items()}


def main(words: list[str] | None = None) -> int:
    """Compare or raise; 1 where something lies below."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tier", choices=["fast", "security", "all"])
    parser.add_argument("--raise", dest="rise", action="store_true")
    taken = parser.parse_args(words)
    floors = json.loads(FLOORS.read_text())
    figures = measured(json.load(sys.stdin))
    if taken.tier == "security":
        del figures["all"]  # of the other rooms it only shows what is imported
    for part, figure in figures.items():
        print(
            f"{part:20} {figure:5.1f} %   floor {floors.get(taken.tier, {}).get(part, 0.0):5.1f} %"
        )
    if taken.rise:
        floors[taken.tier] = raised(figures, floors.get(taken.tier, {}))
        FLOORS.write_text(json.dumps(floors, indent=2) + "\n")
        return 0
    wrong = below(figures, floors.get(taken.tier, {}))
    print(*wrong, sep="\n", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
