"""The pictures of an assessment as PNG and SVG: ROC, calibration, robustness."""

import io
from typing import Any

from casemate.core.quiet import without_font_search
from casemate.core.types import Assessment

with without_font_search():
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")
INK, ACCENT = "#444444", "#0b6fa4"


def draw(assessment: Assessment) -> dict[str, bytes]:
    """File name -> image, for everything that was measured."""
    figures: dict[str, Figure] = {}
    if assessment.roc:
        auc = assessment.metrics["roc_auc"]
        figure, axes = _axes("ROC on the hold-out", "false positive rate", "true positive rate")
        axes.plot([0, 1], [0, 1], "--", color=INK, linewidth=1)
        axes.plot(
            assessment.roc["false_positive_rate"],
            assessment.roc["true_positive_rate"],
            color=ACCENT,
            label=f"AUC {auc.value:.3f} (95 %: {auc.low:.3f}–{auc.high:.3f})",
        )
        axes.legend(loc="lower right", frameon=False)
        figures["roc"] = figure
    if assessment.calibration and "mae" in assessment.metrics:
        error = assessment.metrics["mae"]
        figure, axes = _axes(
            "Predicted and observed on the hold-out",
            "mean prediction of a part of the rows",
            "mean observed",
        )
        ends = [min(assessment.calibration["predicted"]), max(assessment.calibration["predicted"])]
        axes.plot(ends, ends, "--", color=INK, linewidth=1)
        label = f"mean absolute error {error.value:.4g}"
        axes.plot(
            assessment.calibration["predicted"],
            assessment.calibration["observed"],
            "o-",
            color=ACCENT,
            label=label,
        )
        axes.legend(loc="upper left", frameon=False)
        figures["predicted"] = figure
    elif assessment.calibration:
        error = assessment.metrics["calibration_error"]
        figure, axes = _axes(
            "Calibration on the hold-out", "predicted probability", "observed frequency"
        )
        axes.plot([0, 1], [0, 1], "--", color=INK, linewidth=1)
        axes.plot(
            assessment.calibration["predicted"],
            assessment.calibration["observed"],
            "o-",
            color=ACCENT,
            label=f"calibration error {error.value:.3f}",
        )
        axes.legend(loc="lower right", frameon=False)
        figures["calibration"] = figure
    curve = assessment.robustness.get("curve")
    if curve:
        tolerance = assessment.robustness.get("tolerance")
        up = (
            "accuracy"
            if tolerance is None
            else f"share within {tolerance:g} deviations of the truth"
        )
        figure, axes = _axes(
            "Robust accuracy", "attack size (standard deviations of each feature)", up
        )
        points = [(0.0, assessment.robustness["clean_accuracy"])] + [
            (p["eps"], p["robust_accuracy"]) for p in curve
        ]
        axes.plot(
            *zip(*points, strict=True),
            "o-",
            color=ACCENT,
            label=", ".join(assessment.robustness["attacks"]),
        )
        axes.set_ylim(0, 1.02)
        axes.legend(loc="lower left", frameon=False, title=f"{assessment.robustness['rows']} rows")
        figures["robustness"] = figure
    return {
        f"{name}.{kind}": content
        for name, figure in figures.items()
        for kind, content in _saved(figure).items()
    }


def _axes(title: str, across: str, up: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _saved(figure: Figure) -> dict[str, bytes]:
    """The figure in every format; where its parts lie is worked out once."""
    found = {}
    for kind in FORMATS:
        buffer = io.BytesIO()
        figure.savefig(
            buffer, format=kind, dpi=120, metadata={"Date": None} if kind == "svg" else None
        )
        figure.set_layout_engine("none")
        found[kind] = buffer.getvalue()
    return found
