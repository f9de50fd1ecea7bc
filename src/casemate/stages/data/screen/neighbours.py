"""Rows whose ten nearest rows all have one other label: a second opinion beside the label screen.

Source: Wilson, Asymptotic Properties of Nearest Neighbor Rules Using Edited Data (1972). Where that
happens to more than `CAP` of the rows, nearness says little about the label, and the detector says
so instead of flagging them: so by chance it names no more than that. Every row is compared with at
most `REFERENCE` others. It cannot see a wrong label near a border between classes, nor one among
others like it.
"""

import numpy as np
from sklearn.neighbors import NearestNeighbors

from casemate.config import ScreenTable
from casemate.core.threads import fitting
from casemate.core.types import Finding, Quarantined
from casemate.ml.frame import sample_rows
from casemate.stages.data.screen.interface import ScreenedRows, Suspicion

NEIGHBOURS = 10
"""Rows that must all contradict a label. Chosen: where nearness says nothing and two classes are as
frequent, ten do so by chance at one row of 1 024.
"""
CAP = 0.01
"""Share of the rows above which none is flagged, because nearness then says little. Chosen: it is
also the most that chance can name.
"""
MOST_FEATURES = 1_000
"""Above so many, distances are alike and dear; the detector is silent. Chosen."""
REFERENCE = 5_000
"""All pairs of 45 000 rows took longer than all other detectors, and found the same; twice as many
took twice as long.
"""


class Neighbours:
    """Flags what every neighbour contradicts."""

    id = "neighbours"

    def __call__(self, rows: ScreenedRows, options: ScreenTable) -> Suspicion:
        """See `Detector`."""
        # neighbours on both sides of a range's end contradict each other by nature
        if rows.quantities is not None:
            return Suspicion()
        at = rows.sample(options.rows)
        if len(at) <= NEIGHBOURS * 2 or rows.frame.shape[1] > MOST_FEATURES:
            return Suspicion()
        points = np.ascontiguousarray(rows.scaled(at), dtype=np.float32)
        others_at = sample_rows(len(at), REFERENCE, rows.seed)
        search = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(points[others_at])
        with fitting(points.size // 4):  # a thread more waits longer than it works
            near = others_at[search.kneighbors(points, return_distance=False)]
        labels = rows.codes[at]
        # A row need not be its own first neighbour where others equal it.
        itself = near == np.arange(len(near))[:, None]
        itself[~itself.any(axis=1), -1] = True
        others = near[~itself].reshape(len(near), NEIGHBOURS)
        found = labels[others]
        unanimous = (found == found[:, :1]).all(axis=1) & (found[:, 0] != labels)
        share = float(unanimous.mean())
        figures = {"neighbour_disagreement": share}
        if share > CAP:
            text = (
                f"{share:.1%} of the rows lie among rows of one other class: nearness says little"
                " about this target, so none is flagged"
            )
            return Suspicion(
                findings=[
                    Finding(id="data.neighbours", severity="low", confidence="high", message=text)
                ],
                figures=figures,
            )
        names = rows.schema.classes
        suspects = [
            Quarantined(
                row=int(at[place]),
                reason=self.id,
                detail=f"given {names[labels[place]]!r}, all neighbours {names[found[place, 0]]!r}",
                score=1.0,
            )
            for place in np.flatnonzero(unanimous)
        ]
        return Suspicion(rows=suspects, figures=figures)
