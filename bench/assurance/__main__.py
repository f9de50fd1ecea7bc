"""`make assurance`: how often casemate's detectors and figures are wrong, by simulation with fixed
seeds.

Every module beside this one names figures with the limit that each must keep, and simulates them.
The page `docs/explanation/assurance.md` and its pictures are written from what came out, met or
not.
"""

import argparse
import importlib
import math
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from scipy.stats import binomtest

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "explanation" / "assurance.md"
INTRODUCTION = """# How often casemate is wrong

Whatever refuses or signs a model can be wrong in two ways: alarm where nothing is, or stay silent where something is. These
figures are simulations with fixed seeds (`make assurance`; the page is of `--scale {scale:g}`, which took {minutes} minutes; the
test suite runs a small part). A figure with several points must keep its limit at each of them. A share of simulated tables is
kept where all of its own 95 % interval keeps the limit; where so few tables could keep or miss it by luck it is undecided.
"""
Point = dict[str, Any]
MARKERS = "osD"
"""Ten colours each."""


def parts() -> list[str]:
    """Names of the modules that simulate."""
    return sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


def load(part: str) -> Any:
    """One of them."""
    sys.path.insert(0, str(HERE))
    try:
        return importlib.import_module(part)
    finally:
        sys.path.remove(str(HERE))


def keeps(value: float, limit: tuple[Any, ...]) -> bool:
    """Whether a value keeps `("<=", x)`, `(">=", x)` or `("in", low, high)`; what is no number
    keeps nothing.
    """
    if not math.isfinite(value):
        return False
    if limit[0] == "in":
        return bool(limit[1] <= value <= limit[2])
    return bool(value <= limit[1] if limit[0] == "<=" else value >= limit[1])


def judged(point: Point, limit: tuple[Any, ...]) -> str:
    """`kept`, `undecided` or `missed`: a share of few `rounds` may do either by luck.

    It is kept if Clopper and Pearson's 95 % limits keep the limit, and missed if all within their
    99 % limits misses it.
    """
    value = float(point["value"])
    if "rounds" not in point or not 0 <= value <= 1:
        return "kept" if keeps(value, limit) else "missed"
    found = binomtest(round(value * point["rounds"]), point["rounds"])
    sure, ends = found.proportion_ci(0.95), found.proportion_ci(0.99)
    if keeps(sure.low, limit) and keeps(sure.high, limit):
        return "kept"
    return (
        "undecided"
        if keeps(value, limit)
        or ends.low <= limit[1] <= ends.high
        or keeps(ends.low, limit)
        or keeps(ends.high, limit)
        else "missed"
    )


def worst(points: list[Point], limit: tuple[Any, ...]) -> float:
    """The value that is furthest on the bad side."""
    values = [float(point["value"]) for point in points]
    if limit[0] == "in":
        return max(values, key=lambda value: abs(value - (limit[1] + limit[2]) / 2))
    return max(values) if limit[0] == "<=" else min(values)


def text(limit: tuple[Any, ...]) -> str:
    """A limit for people."""
    return f"{limit[1]:g} to {limit[2]:g}" if limit[0] == "in" else f"{limit[0]} {limit[1]:g}"


def draw(name: str, points: list[Point], limit: tuple[Any, ...], path: Path) -> None:
    """The points of each series side by side, with the limit."""
    from casemate.core.quiet import without_font_search

    with without_font_search():
        from matplotlib.figure import Figure
    figure = Figure(figsize=(7.6, 3.4), layout="constrained")
    axes = figure.add_subplot()
    every = list(dict.fromkeys(str(point["x"]) for point in points))
    names = list(dict.fromkeys(str(point.get("series", "")) for point in points))
    for number, series in enumerate(names):
        mine = [point for point in points if str(point.get("series", "")) == series]
        shift = 0.6 * (number / max(len(names) - 1, 1) - 0.5) if len(every) < len(points) else 0.0
        places = [every.index(str(point["x"])) + shift for point in mine]
        axes.plot(
            places,
            [point["value"] for point in mine],
            MARKERS[number // 10 % len(MARKERS)],
            markersize=4,
            label=series or None,
        )
    axes.set_xticks(range(len(every)), every)
    for level in limit[1:]:
        axes.axhline(level, linestyle="--", color="0.5")
    axes.set_title(name, fontsize=10)
    axes.tick_params(labelsize=8)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside right upper", fontsize=7)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def told(
    part: str, module: Any, found: dict[str, list[Point]], *, pictures: bool
) -> tuple[list[str], int]:
    """(the page's lines about a part, how many figures are missed); each figure is printed too."""
    lines = [
        f"\n## {part.capitalize()}\n",
        module.__doc__.strip() + "\n",
        "| figure | must | worst | points | |",
        "|---|---|---|---|---|",
    ]
    drawn, missed = [], 0
    for name, limit in module.FIGURES.items():
        points = found[name]
        answers = [judged(point, limit) for point in points]
        answer = next((word for word in ("missed", "undecided") if word in answers), "kept")
        missed += answer == "missed"
        many = (
            f" at {answers.count(answer)} of {len(points)}"
            if answer != "kept" and len(points) > 1
            else ""
        )
        sys.stdout.write(
            f"{part}\t{name}\t{worst(points, limit):.4g}\t{text(limit)}\t{answer}{many}\n"
        )
        shown = answer if answer == "kept" else f"**{answer}**"
        lines.append(
            f"| {name} | {text(limit)} | {worst(points, limit):.4g} | {len(points)} |"
            f" {shown}{many} |"
        )
        if all("x" in point for point in points) and len(points) > 1 and pictures:
            picture = PAGE.with_suffix("") / (
                "".join(c if c.isalnum() else "-" for c in f"{part} {name}") + ".svg"
            )
            draw(name, points, limit, picture)
            drawn.append(f"![{name}](assurance/{picture.name})")
    return [*lines, "", *drawn], missed


def main() -> int:
    """Simulate, write the page, name what does not keep its limit."""
    parser = argparse.ArgumentParser(prog="make assurance", description=__doc__)
    parser.add_argument("parts", nargs="*", help="default: all, and only then the page is written")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="share of the simulations (default: 1)"
    )
    arguments = parser.parse_args()
    began, missed, lines = time.monotonic(), 0, []
    for part in arguments.parts or parts():
        module = load(part)
        sys.stderr.write(f"{part}: {module.__doc__.splitlines()[0]}\n")
        found = module.run(arguments.scale)
        sys.stderr.write(msgspec.json.encode(found).decode() + "\n")
        more, count = told(part, module, found, pictures=not arguments.parts)
        lines, missed = [*lines, *more], missed + count
    if not arguments.parts:
        minutes = math.ceil((time.monotonic() - began) / 60)
        PAGE.write_text(
            INTRODUCTION.format(minutes=minutes, scale=arguments.scale)
            + "\n".join(lines).rstrip()
            + "\n"
        )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
