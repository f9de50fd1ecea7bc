"""Spectral signatures: a small group inside a class that stands apart from it along one direction.

Source: Tran, Li, Madry, Spectral Signatures in Backdoor Attacks (NeurIPS 2018). Per class the rows,
centred, are projected on their first singular vectors, once as features and once as hidden
activations of a small network; a two-part mixture that separates a small far group names
candidates, which `excess` must confirm.
"""

import warnings

import numpy as np
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.neural_network import MLPClassifier

from casemate.config import ScreenTable
from casemate.core.threads import fitting
from casemate.core.types import Finding, Quarantined
from casemate.stages.data.screen.interface import Array, ScreenedRows, Suspicion
from casemate.stages.data.screen.rest import Rest

ROWS = 10_000
"""Rows that are looked at, a sample; chosen for time."""
LEAST, MOST_SHARE = 20, 0.2
"""Rows of a group, and its share of the class at most. Chosen: fewer teach a model little, more are
the class; `excess` decides in any case.
"""
APART = 3.0
"""Deviations of the larger part between both parts' middles, from which the small one is apart.
Chosen: as three sigma; it names candidates only.
"""
PURE = 0.85
"""Share of a region's rows that must have the class: elsewhere the group would be a part of the
population. Chosen; `excess` decides.
"""
DIRECTIONS = 3
"""Singular vectors that are looked along; the paper takes the first. Chosen."""
HIDDEN = 32
"""Units of the network whose activations are looked at. Chosen for time."""
EPOCHS = 8
"""Of its training, which need not converge. Chosen for time."""
TRIED = 6
"""Groups that `excess` looks at closely, the farthest first. Chosen for time: each is asked of
models.
"""
OVERLAP = 0.5
"""Share of the smaller group's rows in another one from which the two are the same. Chosen: most of
it.
"""


class Spectral:
    """Flags groups that are apart and whose label the other rows do not explain."""

    id = "spectral"

    def __call__(self, rows: ScreenedRows, options: ScreenTable) -> Suspicion:
        """See `Detector`."""
        at = rows.sample(min(ROWS, options.rows))
        counts = np.bincount(rows.codes[at], minlength=len(rows.schema.classes))
        if np.sum(counts >= 2 * LEAST) < 2:
            return Suspicion(figures={"spectral_groups": 0.0})
        points = rows.scaled(at)
        spaces = {
            "features": points,
            "representations": self._hidden(points, rows.codes[at], rows.seed),
        }
        suspects: dict[int, Quarantined] = {}
        findings: list[Finding] = []
        candidates = [
            (distance, where, members, int(code))
            for where, space in spaces.items()
            for code in np.flatnonzero(counts >= 2 * LEAST)
            for distance, members in self._apart(space, rows.codes[at] == code, rows.seed)
        ]
        chosen: list[tuple[float, str, Array, int]] = []
        for distance, where, members, label in sorted(candidates, key=lambda found: -found[0]):
            group = np.zeros(len(rows.codes), dtype=bool)
            group[at[members]] = True
            if len(chosen) < TRIED and not any(
                np.sum(group & other) > OVERLAP * min(group.sum(), other.sum())
                for _, _, other, _ in chosen
            ):
                chosen.append((distance, where, group, label))
        rest = (
            Rest(rows, ~np.logical_or.reduce([group for _, _, group, _ in chosen]))
            if chosen
            else None
        )
        for distance, where, group, label in chosen:
            told = rest.excess(group, label, [], None) if rest is not None else None
            if told is None or not told.planted:
                continue
            name = rows.schema.classes[label]
            text = (
                f"{int(group.sum())} rows of class {name!r} stand apart in the {where} and the"
                f" other rows suggest that class for {told.expected:.0%} of them: this looks like a"
                " planted group"
            )
            findings.append(
                Finding(id="data.spectral", severity="high", confidence="medium", message=text)
            )
            for row in np.flatnonzero(group):
                detail = f"apart from class {name!r} in the {where}"
                suspects.setdefault(
                    int(row),
                    Quarantined(row=int(row), reason=self.id, detail=detail, score=float(distance)),
                )
        return Suspicion(
            rows=list(suspects.values()),
            findings=findings,
            figures={"spectral_groups": float(len(findings))},
        )

    @staticmethod
    def _hidden(points: Array, codes: Array, seed: int) -> Array:
        """Activations of the hidden layer, float64 [n, HIDDEN]."""
        model = MLPClassifier(
            (HIDDEN,), max_iter=EPOCHS, random_state=seed, batch_size=min(200, len(points))
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it need not converge
            with fitting(points.size):
                model.fit(points, codes)
        return np.asarray(np.maximum(points @ model.coefs_[0] + model.intercepts_[0], 0.0))

    @staticmethod
    def _apart(space: Array, inside: Array, seed: int) -> list[tuple[float, Array]]:
        """(distance in deviations, row places) of small far groups of one class, in regions where
        hardly another class is.
        """
        members = np.flatnonzero(inside)
        width = min(DIRECTIONS, space.shape[1], len(members))
        turned = PCA(width, random_state=seed).fit(space[members]).transform(space)
        found = []
        for direction in range(width):
            line = turned[:, direction]
            deviation = line[members].std()
            if not deviation > 0:
                continue
            line = (line - np.median(line[members])) / deviation
            mixture = GaussianMixture(2, random_state=seed).fit(line[members][:, None])
            small = int(np.argmin(mixture.weights_))
            far = mixture.means_[small, 0] - mixture.means_[1 - small, 0]
            spread = np.sqrt(mixture.covariances_[1 - small, 0, 0])
            region = (mixture.predict(line[:, None]) == small) & (
                np.sign(line - mixture.means_[1 - small, 0]) == np.sign(far)
            )
            part = region & inside
            if (
                LEAST <= part.sum() <= MOST_SHARE * len(members)
                and abs(far) >= APART * spread
                and part.sum() >= PURE * region.sum()
            ):
                found.append((float(abs(far) / max(spread, 1e-9)), np.flatnonzero(region)))
        return found
