"""`make assurance`: how often casemate's detectors and figures are wrong, by simulation with fixed seeds.

Every module beside this one names figures with the limit that each must keep, and simulates them. The page
`docs/explanation/assurance.md` and its pictures are written from what came out, met or not.
"""

import argparse
import importlib
import math
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "explanation" / "assurance.md"
INTRODUCTION = """# How often casemate is wrong

Whatever refuses or signs a model can be wrong in two ways: alarm where nothing is, or stay silent where something is. These
figures are simulations with fixed seeds (`make assurance`, about {minutes:.0f} minutes; the test suite runs a small part). A
figure with several points must keep its limit at each of them.
"""
Point = dict[str, Any]


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
    """Whether a value keeps `("<=", x)`, `(">=", x)` or `("in", low, high)`; what is no number keeps nothing."""
    if not math.isfinite(value):
        return False
    if limit[0] == "in":
        return bool(limit[1] <= value <= limit[2])
    return bool(value <= limit[1] if limit[0] == "<=" else value >= limit[1])


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
    """A curve for each series, with the limit."""
    from casemate.core.quiet import without_font_search

    with without_font_search():
        from matplotlib.figure import Figure
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.add_subplot()
    for series in dict.fromkeys(str(point.get("series", "")) for point in points):
        mine = [point for point in points if str(point.get("series", "")) == series]
        axes.plot([str(point["x"]) for point in mine], [point["value"] for point in mine], marker="o", label=series or None)
    for level in limit[1:]:
        axes.axhline(level, linestyle="--", color="0.5")
    axes.set_title(name, fontsize=10)
    axes.tick_params(labelsize=8)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=7)
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main() -> int:
    """Simulate, write the page, name what does not keep its limit."""
    parser = argparse.ArgumentParser(prog="make assurance", description=__doc__)
    parser.add_argument("parts", nargs="*", help="default: all, and only then the page is written")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the simulations (default: 1)")
    arguments = parser.parse_args()
    began, missed, lines = time.monotonic(), 0, []
    for part in arguments.parts or parts():
        module = load(part)
        sys.stderr.write(f"{part}: {module.__doc__.splitlines()[0]}\n")
        found = module.run(arguments.scale)
        lines += [f"\n## {part.capitalize()}\n", module.__doc__.strip() + "\n", "| figure | must | worst | points | |", "|---|---|---|---|---|"]
        pictures = []
        for name, limit in module.FIGURES.items():
            points = found[name]
            value = worst(points, limit)
            kept = all(keeps(float(point["value"]), limit) for point in points)
            missed += not kept
            sys.stdout.write(f"{part}\t{name}\t{value:.4g}\t{text(limit)}\t{'kept' if kept else 'MISSED'}\n")
            lines.append(f"| {name} | {text(limit)} | {value:.4g} | {len(points)} | {'kept' if kept else '**missed**'} |")
            if all("x" in point for point in points) and len(points) > 1 and not arguments.parts:
                picture = PAGE.with_suffix("") / ("".join(c if c.isalnum() else "-" for c in f"{part} {name}") + ".svg")
                draw(name, points, limit, picture)
                pictures.append(f"![{name}](assurance/{picture.name})")
        lines += ["", *pictures]
        sys.stderr.write(msgspec.json.encode(found).decode() + "\n")
    if not arguments.parts:
        minutes = (time.monotonic() - began) / 60
        PAGE.write_text(INTRODUCTION.format(minutes=math.ceil(minutes)) + "\n".join(lines).rstrip() + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
