"""Suspected wrong labels, by what models that have not seen a row expect of its label
(`out_of_fold`).

Which rows are named, and whether labels are wrong at all, are two questions. A row is named where
its label is more likely wrong than `NAMED`, taken that as many labels are wrong as the data allow:
the share that contradicts the model where it is surest, or the plateau (see `plateau`), where there
is one. Naming from half of the best attainable F1 on makes that F1 largest (Lipton, Elkan,
Naryanaswamy, Optimal Thresholding of Classifiers to Maximize F1 Measure, 2014). Named rows are
suspects for people to look at. In an uncertain table many of them are right, and at most `UNPROVEN`
of the rows are named there. Labels are said to be wrong only on evidence: a plateau that chance
does not make, in the table or in one of its groups (see `subgroups`). Whether the features tell
anything is a test of ranks (Mann-Whitney) or of the rows that the model gives a class (exact
binomial), which noise makes weaker and does not bias. How many labels may be wrong without
contradicting the data is told in any case (`label_noise_at_most`), so that more wrong labels never
look better; where those are too many to say that none is, the screen is inconclusive.

Cannot be seen: noise without a plateau (see there), which is the same as an outcome that is that
uncertain; a row that is wrong and looks right. How often it is wrong: `bench/assurance/labels.py`.
"""

import numpy as np
from cleanlab.filter import find_label_issues
from scipy.stats import beta, binomtest, mannwhitneyu
from sklearn.metrics import roc_auc_score

from casemate.config import ScreenTable
from casemate.core.types import Finding, Quarantined, Schema, Severity
from casemate.stages.data.screen.interface import Array, ScreenedRows, Suspicion
from casemate.stages.data.screen.out_of_fold import expectation
from casemate.stages.data.screen.plateau import Plateau, plateau
from casemate.stages.data.screen.quantity_noise import FAR, WEAK_R2, distances
from casemate.stages.data.screen.subgroups import NoisyGroup, noisy_groups

# Where a limit names no source it was chosen. What all of them do together is simulated by
# bench/assurance/labels.py: tables of right labels are
# not to be refused, flips are to be named better than cleanlab names them
# (docs/explanation/assurance.md, Labels; ADR 0035).
UNINFORMATIVE = 1e-3
"""Features tell nothing of a class where random labels rank as well in one of a thousand tables."""
DECISIVE = 0.1
"""The share of the rows that the model is surest of."""
NAMED = 0.3
"""Probability of being wrong from which a row is named: near half of the best F1 that real tables
allow (.42 to .67, ADR 0035), which is where Lipton et al. put the threshold.
"""
ALLOWED = 0.84
"""The share of wrong labels that the surest rows allow: the upper end of Clopper and Pearson, one
standard error up.
"""
UNPROVEN = 0.1
"""Share of the rows that are named at most where nothing proves that labels are wrong. Chosen:
people look at them, and most may be right.
"""
MOST = 0.45
"""Of the labels; from a half on nothing tells right from wrong."""
NOTABLE, GRAVE = 0.02, 0.05
"""Shares of wrong labels that are worth a word, and that block a release."""
UNSURE = 0.15
"""Share of the rows up to which those are named that may as well be uncertain."""
UNTOLD = 0.15
"""Where more labels than this may be wrong unseen, nobody can say that none is."""
LIKELY, SURE = 1e-2, 1e-4
"""Probabilities, were no label wrong, from which on a plateau is told, and is held to be sure: the
model's own, or that of the model without joins (which sees more) if the other's is at least likely.
Of 270 simulated tables without wrong labels neither held in any.
"""


class LabelNoise:
    """Names rows whose given label is probably wrong, and says whether labels of the table or of a
    group are.
    """

    id = "label-noise"

    def __call__(self, rows: ScreenedRows, options: ScreenTable) -> Suspicion:
        """See `Detector`."""
        members = [rows.codes == code for code in range(len(rows.schema.classes))]
        rarest = min(
            int(member.sum()) if rows.groups is None else len(np.unique(rows.groups[member]))
            for member in members
        )
        if rarest < options.folds:
            unit = "rows" if rows.groups is None else "subjects"
            return _inconclusive(f"a class has {rarest} {unit}, fewer than {options.folds} folds")
        if rows.quantities is not None:
            return self._far(rows, rows.quantities, options)
        expected = expectation(rows, options.folds)
        auc = roc_auc_score(
            rows.codes,
            expected.best[:, 1] if len(members) == 2 else expected.best,
            multi_class="ovr",
        )
        figures = {"label_screen_auc": float(auc)} if np.isfinite(auc) else {}
        if not _informative(expected.best, rows.codes):
            return _inconclusive(
                f"the features barely predict the target (AUC {auc:.3f})",
                figures | {"label_noise_at_most": MOST},
            )
        whole, single = plateau(expected.best, rows.codes), plateau(expected.single, rows.codes)
        proven = whole.chance < SURE or (whole.chance < LIKELY and single.chance < SURE)
        allowed = _allowed(expected.best, rows.codes, whole.wrong if proven else 0.0)
        named, likely = (
            _named(expected.best, rows.codes, allowed, proven),
            expected.best.argmax(axis=1),
        )
        findings = _said(whole, proven, expected.best, rows.codes, named, allowed)
        for group in noisy_groups(rows, expected, single, NAMED):
            findings.append(_said_of(group, rows.schema))
            doubtful = group.doubtful
            if not group.sure:  # the least likely of them, as many as may be
                room = max(0, int(UNSURE * len(named)) - int(named.sum()))
                doubtful = doubtful[
                    np.argsort(expected.single[doubtful, rows.codes[doubtful]], kind="stable")[
                        :room
                    ]
                ]
            named[doubtful] = True
            likely[doubtful] = expected.single[doubtful].argmax(axis=1)
        given = expected.best[np.arange(len(rows.codes)), rows.codes]
        found = [
            Quarantined(
                row=int(row),
                reason=self.id,
                detail=(
                    f"given {rows.schema.classes[rows.codes[row]]!r}, probably"
                    f" {rows.schema.classes[likely[row]]!r}"
                ),
                score=float(1.0 - given[row]),
            )
            for row in np.flatnonzero(named)
        ]
        figures |= {
            "label_issues": float(np.sum(find_label_issues(rows.codes, expected.best, n_jobs=1))),
            "label_noise": whole.wrong if whole.chance < LIKELY else 0.0,
            "label_noise_at_most": allowed,
        }
        return Suspicion(rows=found, findings=findings, figures=figures)

    def scores(self, rows: ScreenedRows, options: ScreenTable) -> Array:
        """How suspicious each row's label is: 1 - its out-of-fold probability, or deviations from
        what is expected, float64 [n].
        """
        if rows.quantities is not None:
            return distances(rows, rows.quantities, options.folds)[0]
        return np.asarray(
            1.0 - expectation(rows, options.folds).best[np.arange(len(rows.codes)), rows.codes]
        )

    def _far(self, rows: ScreenedRows, quantities: Array, options: ScreenTable) -> Suspicion:
        """Rows whose quantity lies far from what the features let expect."""
        away, r2 = distances(rows, quantities, options.folds)
        figures = {"label_screen_r2": r2}
        if r2 < WEAK_R2:
            return _inconclusive(f"the features barely predict the target (R2 {r2:.3f})", figures)
        suspicious = np.flatnonzero(away > FAR)
        share = len(suspicious) / len(away)
        suspicious = np.sort(
            suspicious[np.argsort(-away[suspicious], kind="stable")][
                : max(1, int(NOTABLE * len(away)))
            ]
        )
        found = [
            Quarantined(
                row=int(row),
                reason=self.id,
                detail=f"{away[row]:.0f} deviations from what is expected",
                score=float(away[row]),
            )
            for row in suspicious
        ]
        findings = []
        if share >= NOTABLE:
            text = (
                f"{share:.1%} of the rows lie more than {FAR:g} deviations from what their features"
                " let expect: long tails, or wrong targets"
            )
            findings.append(
                Finding(id="data.label-noise", severity="medium", confidence="low", message=text)
            )
        return Suspicion(rows=found, findings=findings, figures=figures | {"label_noise": share})


def _inconclusive(why: str, figures: dict[str, float] | None = None) -> Suspicion:
    text = f"the label screen is inconclusive: {why}"
    return Suspicion(
        findings=[
            Finding(id="data.label-screen", severity="medium", confidence="high", message=text)
        ],
        figures=figures or {},
    )


def _said(
    whole: Plateau, proven: bool, probabilities: Array, codes: Array, named: Array, allowed: float
) -> list[Finding]:
    """What the plateau of the whole table says, or that nothing is said by rows being named."""
    if whole.chance < LIKELY and whole.wrong >= NOTABLE:
        sure = proven and whole.least >= NOTABLE and whole.wrong >= GRAVE
        surest, wrong = _surest(probabilities, codes)
        expected = float(np.mean(1 - whole.agreement[surest]))
        text = (
            f"about {whole.wrong:.1%} of the labels are wrong (at least {whole.least:.1%}): however"
            f" sure the model is, they contradict it; of the {int(surest.sum())} rows that it is"
            f" surest of {wrong:.1%} do, where mere uncertainty makes {expected:.1%}"
        )
        severity: Severity = "high" if sure else "medium"
        return [
            Finding(id="data.label-noise", severity=severity, confidence=severity, message=text)
        ]
    if allowed >= UNTOLD:
        text = (
            "the label screen is inconclusive: the features decide too rarely to tell whether any"
            f" labels are wrong; up to {allowed:.0%} may be"
        )
        return [Finding(id="data.label-screen", severity="medium", confidence="high", message=text)]
    if not named.any():
        return []
    given = probabilities[np.arange(len(codes)), codes]
    unlikely = np.where(
        np.eye(probabilities.shape[1], dtype=bool)[probabilities.argmax(axis=1)], 1.0, probabilities
    )
    expected = float(np.sum(unlikely, where=unlikely <= given[named].max()))
    text = (
        f"{int(named.sum())} rows have the least likely labels; mere uncertainty makes about"
        f" {expected:.0f} such, and nothing says that labels are wrong (at most {allowed:.1%}"
        " may be)"
    )
    return [Finding(id="data.label-noise", severity="low", confidence="medium", message=text)]


def _said_of(group: NoisyGroup, schema: Schema) -> Finding:
    value = (
        group.value if schema.column(group.column).column_class == "general" else "a certain value"
    )
    chance = f"chance makes that in one of {1 / max(group.chance, 1e-9):,.0f} tables"
    of = f"of the labels of the {group.rows} rows with {group.column} = {value}"
    text = f"about {group.wrong:.0%} {of} are wrong: the other rows predict them well, and {chance}"
    if not group.sure:
        text = (
            f"about {group.wrong:.0%} {of} are wrong, or the outcome is less certain there, which"
            f" the table cannot tell apart; {chance}"
        )
    severity: Severity = "high" if group.sure else "medium"
    return Finding(
        id="data.label-noise",
        severity=severity,
        confidence=severity,
        message=text,
        location=group.column,
    )


def _informative(probabilities: Array, codes: Array) -> bool:
    """Whether rows of some class rank above the others, or are more frequent where the model
    expects them: few true ones move no rank.
    """
    kinds = probabilities.shape[1]
    chances = []
    for code in range(kinds):
        member, expected = codes == code, probabilities.argmax(axis=1) == code
        chances.append(
            mannwhitneyu(
                probabilities[member, code], probabilities[~member, code], alternative="greater"
            ).pvalue
        )
        if expected.any():
            met = int(np.sum(member & expected))
            chances.append(
                binomtest(
                    met, int(expected.sum()), float(member.mean()), alternative="greater"
                ).pvalue
            )
    return bool(min(chances) * 2 * kinds < UNINFORMATIVE)


def _surest(probabilities: Array, codes: Array) -> tuple[Array, float]:
    """(the rows that the model is surest of, bool [n]; the share of them whose label contradicts
    it).
    """
    certainty = probabilities.max(axis=1)
    surest = certainty >= np.quantile(certainty, 1 - DECISIVE)
    return surest, float(np.mean(probabilities[surest].argmax(axis=1) != codes[surest]))


def _allowed(probabilities: Array, codes: Array, proven: float) -> float:
    """The largest share of wrong labels that does not contradict the data, at least what is
    `proven`, at most `MOST`.
    """
    surest, contradicted = _surest(probabilities, codes)
    found, count = round(contradicted * surest.sum()), int(surest.sum())
    allowed = float(beta.ppf(ALLOWED, found + 1, count - found)) if found < count else 1.0
    return min(max(allowed, proven), MOST)


def _named(probabilities: Array, codes: Array, wrong: float, proven: bool) -> Array:
    """Rows whose label is probably wrong if a share `wrong` of all is, bool [n]; few where nothing
    proves that any are.
    """
    given = probabilities[np.arange(len(codes)), codes]
    # as if every wrong label of a class went to one other class
    right = np.clip((given - wrong) / (1 - 2 * wrong), 0, 1)
    doubt = wrong * (1 - right) / given
    suspicious = np.flatnonzero((probabilities.argmax(axis=1) != codes) & (doubt >= NAMED))
    if not proven:
        suspicious = suspicious[np.argsort(given[suspicious], kind="stable")][
            : round(min(wrong, UNPROVEN) * len(codes))
        ]
    named = np.zeros(len(codes), dtype=bool)
    named[suspicious] = True
    return named
