"""What leaves with a private model: what noise was paid for, what is declared, and figures of
people who were held out.

Exact counts, means or attack results of training rows beside a private model take back what epsilon
promised: of two profiles, one with a person and one without, that person's age can be reckoned.
Such figures stay in the run's evidence, for the steward.
"""

import msgspec

from casemate.config import ON_TRAINING_ROWS
from casemate.core.types import Assessment, SealedDataset

PARTS = ("membership", "lira", "attribute inference", "inversion", "memorised rows", "shift")
"""Measurements that read training rows, as `Assessment.inconclusive` calls them."""
KEPT = {"privacy.bound-broken"}
"""Findings on training rows that still refuse a model: an attack that beats epsilon shows that the
promise does not hold.
"""


def told(dataset: SealedDataset, assessment: Assessment) -> tuple[SealedDataset, Assessment]:
    """Both records without what training rows decide: for gates, card, bill of materials and
    lineage of a private model.
    """
    whole = msgspec.structs.replace(
        dataset,
        quarantined={},
        quarantine="",
        split="",
        profile="",
        excluded=0,
        statistics={},
        findings=[],
        figures={},
        rules=[],
    )
    figures = {
        name: figure for name, figure in assessment.figures.items() if name not in ON_TRAINING_ROWS
    }
    findings = [
        finding
        for finding in assessment.findings
        if finding.id in KEPT or not finding.id.startswith(("privacy.", "data."))
    ]
    kept = msgspec.structs.replace(
        assessment,
        membership={},
        leakage={},
        figures=figures,
        profile=None,
        baseline=None,
        findings=findings,
        inconclusive=[
            text
            for text in assessment.inconclusive
            if not text.startswith(tuple(f"{part}:" for part in PARTS))
        ],
    )
    return whole, kept
