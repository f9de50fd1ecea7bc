"""Suspected wrong labels, by what models that have not seen a row expect of its label (`out_of_fold`).

Which rows are named, and whether labels are wrong at all, are two questions. A row is named where its label is more likely wrong
than `NAMED`, taken that as many labels are wrong as the data allow: the share that contradicts the model where it is surest, or the
plateau (see `plateau`), where there is one. Naming from half of the best attainable F1 on makes that F1 largest (Lipton, Elkan,
Naryanaswamy, Optimal Thresholding of Classifiers to Maximize F1 Measure, 2014). Named rows are suspects for people to look at. In an
uncertain table many of them are right, and at most `UNPROVEN` of the rows are named there.
Labels are said to be wrong only on evidence: a plateau that chance does not make, in the table or in one of its groups (a value
of a column with few values, a quarter of a number), after correction for how many groups were looked at.

Whether the features tell anything is a rank test of the labels (Mann-Whitney), which noise makes weaker and does not bias; a plateau
that is sure answers it too (rare positives among many false ones hardly move the ranks). Else the screen is inconclusive.

Cannot be seen: noise without a plateau (see there); noise in a group that only two columns make together, or one column that also
decides the label; a row that is wrong and looks right.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from cleanlab.filter import find_label_issues
from scipy.stats import beta, chi2, mannwhitneyu
from sklearn.metrics import roc_auc_score

from casemate.config import ScreenTable
from casemate.core.types import Finding, Quarantined, Severity
from casemate.stages.data.screen.interface import Array, Rows, Suspicion
from casemate.stages.data.screen.out_of_fold import WIDE, expectation
from casemate.stages.data.screen.plateau import Plateau, plateau, turned_over
from casemate.stages.data.screen.quantity_noise import FAR, WEAK_R2, distances

UNINFORMATIVE = 1e-3
"""Features tell nothing of a class where random labels rank as well in one of a thousand tables."""
DECISIVE = 0.1
"""The share of the rows that the model is surest of."""
NAMED = 0.3
ALLOWED = 0.84
"""The share of wrong labels that the surest rows allow: the upper end of Clopper and Pearson, one standard error up."""
UNPROVEN = 0.1
MOST = 0.45
"""Of the labels; from a half on nothing tells right from wrong."""
NOTABLE, GRAVE = 0.02, 0.05
"""Shares of wrong labels that are worth a word, and that block a release."""
LIKELY, SURE = 1e-2, 1e-4
"""Probabilities, were no label wrong, from which on a plateau is told, and is held to be sure. In 500 simulated tables without wrong
labels the likelihood ratio exceeded that of `SURE` in none together with a lower bound of `NOTABLE`."""
GROUP_ROWS, GROUP_SHARE, FEW_VALUES, GROUPS = 20, 0.75, 20, 5
GROUP_WRONG, CONFIRMED = 0.15, 1e-2
"""A group is told from this share of wrong labels on, if a model that could have learnt the group sees it too (uncorrected)."""
GROUP_CHANCE, GROUP_SURE = 0.05, 1e-4


class LabelNoise:
    """Names rows whose given label is probably wrong, and says whether labels of the table or of a group are."""

    id = "label-noise"

    def __call__(self, rows: Rows, options: ScreenTable) -> Suspicion:
        """See `Detector`."""
        members = [rows.codes == code for code in range(len(rows.schema.classes))]
        rarest = min(int(member.sum()) if rows.groups is None else len(np.unique(rows.groups[member])) for member in members)
        if rarest < options.folds:
            unit = "rows" if rows.groups is None else "subjects"
            return self._inconclusive(f"a class has {rarest} {unit}, fewer than {options.folds} folds")
        if rows.quantities is not None:
            return self._far(rows, rows.quantities, options)
        expected = expectation(rows, options.folds)
        auc = roc_auc_score(rows.codes, expected.best[:, 1] if len(members) == 2 else expected.best, multi_class="ovr")
        figures = {"label_screen_auc": float(auc)} if np.isfinite(auc) else {}
        whole = plateau(expected.best, rows.codes)
        if whole.chance >= SURE and not _informative(expected.best, rows.codes):
            return self._inconclusive(f"the features barely predict the target (AUC {auc:.3f})", figures)
        named, likely = _named(expected.best, rows.codes, whole), expected.best.argmax(axis=1)
        findings = list(self._said(whole, expected.best, rows.codes, named))
        for finding, at in self._groups(rows, expected.single, expected.joint):
            findings.append(finding)
            named[at] = True
            likely[at] = expected.single[at].argmax(axis=1)
        given = expected.best[np.arange(len(rows.codes)), rows.codes]
        found = [
            Quarantined(
                row=int(row),
                reason=self.id,
                detail=f"given {rows.schema.classes[rows.codes[row]]!r}, probably {rows.schema.classes[likely[row]]!r}",
                score=float(1.0 - given[row]),
            )
            for row in np.flatnonzero(named)
        ]
        issues = find_label_issues(rows.codes, expected.best, n_jobs=1)
        figures |= {"label_issues": float(np.sum(issues)), "label_noise": whole.wrong if whole.chance < LIKELY else 0.0}
        return Suspicion(rows=found, findings=findings, figures=figures)

    def scores(self, rows: Rows, options: ScreenTable) -> Array:
        """How suspicious each row's label is: 1 - its out-of-fold probability, or deviations from what is expected, float64 [n]."""
        if rows.quantities is not None:
            return distances(rows, rows.quantities, options.folds)[0]
        return np.asarray(1.0 - expectation(rows, options.folds).best[np.arange(len(rows.codes)), rows.codes])

    def _said(self, whole: Plateau, probabilities: Array, codes: Array, named: Array) -> Iterator[Finding]:
        """What the plateau of the whole table says, or that nothing is said by rows being named."""
        if whole.chance < LIKELY and whole.wrong >= NOTABLE:
            sure = whole.chance < SURE and whole.least >= NOTABLE and whole.wrong >= GRAVE
            surest, wrong = _surest(probabilities, codes)
            expected = float(np.mean(1 - whole.agreement[surest]))
            text = (
                f"about {whole.wrong:.1%} of the labels are wrong (at least {whole.least:.1%}): however sure the model is, they contradict it; of the "
                f"{int(surest.sum())} rows that it is surest of {wrong:.1%} do, where mere uncertainty makes {expected:.1%}"
            )
            severity: Severity = "high" if sure else "medium"
            yield Finding(id="data.label-noise", severity=severity, confidence="high" if sure else "medium", message=text)
        elif named.any():
            given = probabilities[np.arange(len(codes)), codes]
            least_likely = np.where(np.eye(probabilities.shape[1], dtype=bool)[probabilities.argmax(axis=1)], 1.0, probabilities)
            expected = float(np.sum(least_likely, where=least_likely <= given[named].max()))
            text = (
                f"{int(named.sum())} rows have the least likely labels; mere uncertainty makes about {expected:.0f} such, and nothing says that "
                "labels are wrong"
            )
            yield Finding(id="data.label-noise", severity="low", confidence="medium", message=text)

    def _groups(self, rows: Rows, single: Array, joint: Array) -> Iterator[tuple[Finding, Array]]:
        """(what is said of a group whose labels are wrong unusually often, its rows whose labels probably are)."""
        if rows.frame.shape[1] > WIDE:
            return
        groups = list(_places(rows))
        if not groups:
            return
        alone, both = plateau(single, rows.codes), plateau(joint, rows.codes)
        agrees = single.argmax(axis=1) == rows.codes
        agrees_too = joint.argmax(axis=1) == rows.codes
        left = np.ones(len(rows.codes), dtype=bool)
        for _ in range(GROUPS):
            best, looks = None, 0
            for name, places, values in groups:
                kept = np.where(left, places, -1)
                sizes = np.bincount(kept[kept >= 0], minlength=len(values))
                share, ratio = turned_over(alone.agreement * (1 - alone.wrong), agrees, kept)
                looks += len(values)
                for which in np.flatnonzero((sizes[: len(share)] >= GROUP_ROWS) & (share >= GROUP_WRONG)):
                    if best is None or ratio[which] > best[0]:
                        best = ratio[which], share[which], name, values[which], kept == which
            if best is None:
                return
            ratio_at, wrong, name, value, member = best
            chance = looks * float(chi2.sf(ratio_at, 1)) / 2
            once = np.where(member, 0, -1)
            also, ratio_too = turned_over(both.agreement * (1 - both.wrong), agrees_too, once)
            if chance >= GROUP_CHANCE or float(chi2.sf(ratio_too[0], 1)) / 2 >= CONFIRMED:
                return
            left &= ~member
            sure = chance < GROUP_SURE and looks * float(chi2.sf(ratio_too[0], 1)) / 2 < GROUP_SURE and also[0] >= GROUP_WRONG
            told = value if rows.schema.column(name).column_class == "general" else "a certain value"
            text = (
                f"about {wrong:.0%} of the labels of the {int(member.sum())} rows with {name} = {told} are wrong: the other rows predict them well, "
                f"and chance makes that in one of {1 / max(chance, 1e-9):,.0f} tables"
            )
            finding = Finding(
                id="data.label-noise", severity="high" if sure else "medium", confidence="high" if sure else "medium", message=text, location=name
            )
            kept_label = np.where(agrees, alone.agreement, 1 - alone.agreement)
            doubt = wrong * (1 - kept_label) / (wrong * (1 - kept_label) + (1 - wrong) * kept_label)
            yield finding, np.flatnonzero(member & ~agrees & (doubt >= NAMED))

    def _far(self, rows: Rows, quantities: Array, options: ScreenTable) -> Suspicion:
        """Rows whose quantity lies far from what the features let expect."""
        away, r2 = distances(rows, quantities, options.folds)
        figures = {"label_screen_r2": r2}
        if r2 < WEAK_R2:
            return self._inconclusive(f"the features barely predict the target (R2 {r2:.3f})", figures)
        suspicious = np.flatnonzero(away > FAR)
        share = len(suspicious) / len(away)
        suspicious = np.sort(suspicious[np.argsort(-away[suspicious], kind="stable")][: max(1, int(NOTABLE * len(away)))])
        found = [
            Quarantined(row=int(row), reason=self.id, detail=f"{away[row]:.0f} deviations from what is expected", score=float(away[row]))
            for row in suspicious
        ]
        findings = []
        if share >= NOTABLE:
            text = f"{share:.1%} of the rows lie more than {FAR:g} deviations from what their features let expect: long tails, or wrong targets"
            findings.append(Finding(id="data.label-noise", severity="medium", confidence="low", message=text))
        return Suspicion(rows=found, findings=findings, figures=figures | {"label_noise": share})

    def _inconclusive(self, why: str, figures: dict[str, float] | None = None) -> Suspicion:
        finding = Finding(
            id="data.label-screen",
            severity="medium",
            confidence="high",
            message=f"the label screen is inconclusive: {why}",
        )
        return Suspicion(findings=[finding], figures=figures or {})


def _informative(probabilities: Array, codes: Array) -> bool:
    """Whether rows of some class rank above the others by its probability."""
    kinds = probabilities.shape[1]
    tests = [mannwhitneyu(probabilities[codes == code, code], probabilities[codes != code, code], alternative="greater") for code in range(kinds)]
    return bool(min(test.pvalue for test in tests) * kinds < UNINFORMATIVE)


def _surest(probabilities: Array, codes: Array) -> tuple[Array, float]:
    """(the rows that the model is surest of, bool [n]; the share of them whose label contradicts it)."""
    certainty = probabilities.max(axis=1)
    surest = certainty >= np.quantile(certainty, 1 - DECISIVE)
    return surest, float(np.mean(probabilities[surest].argmax(axis=1) != codes[surest]))


def _named(probabilities: Array, codes: Array, whole: Plateau) -> Array:
    """Rows whose label is probably wrong, bool [n]; at most as many as labels may be wrong where no plateau proves that any are."""
    proven = whole.chance < SURE
    surest, contradicted = _surest(probabilities, codes)
    found, count = round(contradicted * surest.sum()), int(surest.sum())
    allowed = float(beta.ppf(ALLOWED, found + 1, count - found)) if found < count else 1.0
    wrong = min(max(allowed, whole.wrong if proven else 0.0), MOST)
    given = probabilities[np.arange(len(codes)), codes]
    right = np.clip((given - wrong) / (1 - 2 * wrong), 0, 1)  # as if every wrong label of a class went to one other class
    doubt = wrong * (1 - right) / given
    suspicious = np.flatnonzero((probabilities.argmax(axis=1) != codes) & (doubt >= NAMED))
    if not proven:
        suspicious = suspicious[np.argsort(given[suspicious], kind="stable")][: round(min(wrong, UNPROVEN) * len(codes))]
    named = np.zeros(len(codes), dtype=bool)
    named[suspicious] = True
    return named


def _places(rows: Rows) -> Iterator[tuple[str, Array, list[str]]]:
    """(column, the group of each row by its value or quarter and -1 for none, what the groups are called)."""
    for column in rows.schema.features:
        values = rows.frame[column.name]
        if column.type == "number" and values.nunique() > FEW_VALUES:
            edges = np.unique(values.quantile([0.25, 0.5, 0.75]).to_numpy())
            places = np.where(values.isna(), -1, np.searchsorted(edges, values.to_numpy()))
            names = [f"{low} to {high}" for low, high in zip(["the least", *edges], [*edges, "the most"], strict=True)]
        else:
            places, kinds = pd.factorize(values)
            names = [str(kind) for kind in kinds]
        sizes = np.bincount(places[places >= 0], minlength=len(names))
        fit = (sizes >= GROUP_ROWS) & (sizes <= GROUP_SHARE * len(places))
        if fit.any():
            numbers = np.where(fit, np.cumsum(fit) - 1, -1)
            yield column.name, np.where(places >= 0, numbers[places], -1), [name for name, kept in zip(names, fit, strict=True) if kept]
