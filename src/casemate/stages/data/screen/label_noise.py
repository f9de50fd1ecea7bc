"""Suspected wrong labels: confident learning on out-of-fold probabilities of a gradient-boosted model.

Source: Northcutt, Jiang, Chuang, Confident Learning (JAIR 2021), through cleanlab. Confident learning alone also names rows
that the features cannot tell apart (5 % of a clean Adult table), so a row is flagged only when its label is less probable
than `RARE` above the noise that is seen where the features are decisive. A model that barely predicts the target would flag
half of the table: below `WEAK_AUC` the screen says that it is inconclusive and flags nothing.

A quantity is suspicious where it lies far from what a gradient-boosted model, which has not seen the row, expects: `FAR` robust
deviations of all such distances (median absolute deviation, as Iglewicz and Hoaglin, How to Detect and Handle Outliers, 1993), and
at least `FLOOR` of the quantity's own; positive quantities with a long tail are compared by their logarithms. Of several quantities
the farthest counts; those that the features barely tell (robust R2 below `WEAK_R2`) do not.
"""

from typing import Any

import numpy as np
from cleanlab.filter import find_label_issues
from scipy.stats import skew
from sklearn.compose import make_column_transformer
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from casemate.config import ScreenTable
from casemate.core.threads import fitting
from casemate.core.types import Finding, Quarantined, Severity
from casemate.stages.data.screen.interface import Array, Rows, Suspicion

WEAK_AUC, WEAK_R2 = 0.6, 0.1
FAR = 8.0
FLOOR = 0.02
SKEWED = 1.0
MAD = 1.4826
"""Median absolute deviation -> standard deviation of a normal distribution."""
MAX_BINS = 255
RARE = 0.1
DECISIVE = 0.1
NOISY, VERY_NOISY = 0.02, 0.1
FEW = 0.02
"""Share of the rows that is named at most where no notable noise is seen: what is left then is chance that the features cannot tell."""
WIDE = 200
"""From this many features on, randomised trees are as good and many times faster."""


class LabelNoise:
    """Flags rows whose given label the model finds improbable and confidently another's."""

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
        probabilities = self.probabilities(rows, options)
        auc = float(
            roc_auc_score(rows.codes, probabilities[:, 1])
            if probabilities.shape[1] == 2
            else roc_auc_score(rows.codes, probabilities, multi_class="ovr")
        )
        figures = {"label_screen_auc": auc} if np.isfinite(auc) else {}
        if not auc >= WEAK_AUC:
            return self._inconclusive(f"the features barely predict the target (AUC {auc:.3f})", figures)
        issues = find_label_issues(rows.codes, probabilities, n_jobs=1)
        given = probabilities[np.arange(len(rows.codes)), rows.codes]
        likely = probabilities.argmax(axis=1)
        noise = self._noise(probabilities, rows.codes)
        suspicious = np.flatnonzero((likely != rows.codes) & (given < min(noise + RARE, 0.45)))
        if noise < NOISY:
            suspicious = np.sort(suspicious[np.argsort(given[suspicious], kind="stable")][: int(FEW * len(rows.codes))])
        found = [
            Quarantined(
                row=int(row),
                reason=self.id,
                detail=f"given {rows.schema.classes[rows.codes[row]]!r}, probably {rows.schema.classes[likely[row]]!r}",
                score=float(1.0 - given[row]),
            )
            for row in suspicious
        ]
        figures |= {"label_issues": float(np.sum(issues)), "label_noise": noise}
        findings = []
        if noise >= NOISY:
            severity: Severity = "high" if noise >= VERY_NOISY else "medium"
            text = f"about {noise:.1%} of the labels are wrong where the features are decisive (confident learning names {int(np.sum(issues))} rows)"
            findings.append(Finding(id="data.label-noise", severity=severity, confidence="medium", message=text))
        return Suspicion(rows=found, findings=findings, figures=figures)

    def scores(self, rows: Rows, options: ScreenTable) -> Array:
        """How suspicious each row's label is: 1 - its out-of-fold probability, or deviations from what is expected, float64 [n]."""
        if rows.quantities is not None:
            return self._distances(rows, rows.quantities, options)[0]
        probabilities = self.probabilities(rows, options)
        return np.asarray(1.0 - probabilities[np.arange(len(rows.codes)), rows.codes])

    def _far(self, rows: Rows, quantities: Array, options: ScreenTable) -> Suspicion:
        """Rows whose quantity lies far from what the features let expect."""
        distances, r2 = self._distances(rows, quantities, options)
        figures = {"label_screen_r2": r2}
        if r2 < WEAK_R2:
            return self._inconclusive(f"the features barely predict the target (R2 {r2:.3f})", figures)
        suspicious = np.flatnonzero(distances > FAR)
        share = len(suspicious) / len(distances)
        suspicious = np.sort(suspicious[np.argsort(-distances[suspicious], kind="stable")][: max(1, int(FEW * len(distances)))])
        found = [
            Quarantined(row=int(row), reason=self.id, detail=f"{distances[row]:.0f} deviations from what is expected", score=float(distances[row]))
            for row in suspicious
        ]
        findings = []
        if share >= NOISY:
            text = f"{share:.1%} of the rows lie more than {FAR:g} deviations from what their features let expect: long tails, or wrong targets"
            findings.append(Finding(id="data.label-noise", severity="medium", confidence="low", message=text))
        return Suspicion(rows=found, findings=findings, figures=figures | {"label_noise": share})

    @classmethod
    def _distances(cls, rows: Rows, quantities: Array, options: ScreenTable) -> tuple[Array, float]:
        """(robust deviations from the out-of-fold prediction, the greatest over the targets [n]; the best robust R2 of a target)."""
        farthest, best = np.zeros(len(quantities)), -np.inf
        for quantity in quantities.T:
            values = np.log(quantity) if quantity.min() > 0 and skew(quantity) > SKEWED else quantity
            errors = values - cls._out_of_fold(rows, values, options)
            usual = _spread(values)
            spread = max(_spread(errors), FLOOR * usual)
            r2 = 1.0 - (spread / usual) ** 2 if usual > 0 else 0.0  # robust: one wild target must not hide itself
            best = max(best, r2)
            if r2 >= WEAK_R2 and spread > 0:
                farthest = np.maximum(farthest, np.abs(errors - np.median(errors)) / spread)
        return farthest, best

    @classmethod
    def probabilities(cls, rows: Rows, options: ScreenTable) -> Array:
        """Out-of-fold probabilities, float64 [n, k]; a subject's rows are in one fold."""
        return cls._out_of_fold(rows, None, options)

    @staticmethod
    def _out_of_fold(rows: Rows, quantity: Array | None, options: ScreenTable) -> Array:
        """What a model expects of rows that it has not seen: probabilities [n, k], or a quantity [n]."""
        categories = [column.name for column in rows.schema.categories]
        splitter = StratifiedKFold if rows.groups is None else StratifiedGroupKFold
        folds = splitter(options.folds, shuffle=True, random_state=rows.seed)
        frame: Any = rows.filled
        model: Any
        if rows.frame.shape[1] > WIDE:
            frame = np.nan_to_num(rows.coded.to_numpy(), nan=-1e6)
            trees: Any = ExtraTreesClassifier if quantity is None else ExtraTreesRegressor
            model = trees(100, min_samples_leaf=2, random_state=rows.seed, n_jobs=-1)
        else:
            # HistGradientBoosting takes at most 255 categories natively; wider ones are treated as ordered codes.
            native = [name for name in categories if rows.frame[name].nunique() < MAX_BINS]
            encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, dtype=np.float64)
            encoded = make_column_transformer((encoder, categories), remainder="passthrough", verbose_feature_names_out=False)
            said: dict[str, Any] = {"random_state": rows.seed, "categorical_features": native or None}
            # A wild target must not pull its neighbours along; but where most are alike, their median says nothing of the others.
            loss = "absolute_error" if quantity is not None and _middling(quantity) > 0 else "squared_error"
            boosting = HistGradientBoostingClassifier(**said) if quantity is None else HistGradientBoostingRegressor(loss=loss, **said)
            model = make_pipeline(encoded.set_output(transform="pandas"), boosting)
        splits = list(folds.split(frame, rows.codes, rows.groups))
        wanted, method = (rows.codes, "predict_proba") if quantity is None else (quantity, "predict")
        with fitting(rows.frame.size):
            return np.asarray(cross_val_predict(model, frame, wanted, cv=splits, method=method))

    @staticmethod
    def _noise(probabilities: Array, codes: Array) -> float:
        """Share of wrong labels among the tenth of the rows that the model is surest of."""
        sure = probabilities.max(axis=1)
        decisive = sure >= np.quantile(sure, 1 - DECISIVE)
        return float(np.mean(probabilities[decisive].argmax(axis=1) != codes[decisive]))

    def _inconclusive(self, why: str, figures: dict[str, float] | None = None) -> Suspicion:
        finding = Finding(
            id="data.label-screen",
            severity="medium",
            confidence="high",
            message=f"the label screen is inconclusive: {why}",
        )
        return Suspicion(findings=[finding], figures=figures or {})


def _middling(values: Array) -> float:
    """Median distance from the median; 0 where more than half of the values are alike."""
    return float(np.median(np.abs(values - np.median(values))))


def _spread(values: Array) -> float:
    """Robust standard deviation; where more than half of the values are alike, the plain one without the farthest hundredth."""
    apart = np.abs(values - np.median(values))
    return MAD * _middling(values) or float(np.std(values[apart <= np.quantile(apart, 0.99)]))
