"""Suspected wrong labels: confident learning on out-of-fold probabilities of a gradient-boosted model.

Source: Northcutt, Jiang, Chuang, Confident Learning (JAIR 2021), through cleanlab. Confident learning alone also names rows
that the features cannot tell apart (5 % of a clean Adult table), so a row is flagged only when its label is less probable
than `RARE` above the noise that is seen where the features are decisive. A model that barely predicts the target would flag
half of the table: below `WEAK_AUC` the screen says that it is inconclusive and flags nothing.
"""

from typing import Any

import numpy as np
from cleanlab.filter import find_label_issues
from sklearn.compose import make_column_transformer
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from casemate.config import ScreenTable
from casemate.core.threads import fitting
from casemate.core.types import Finding, Quarantined, Severity
from casemate.stages.data.screen.interface import Array, Rows, Suspicion

WEAK_AUC = 0.6
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
        """How suspicious each row's label is: 1 - its out-of-fold probability, float64 [n]."""
        probabilities = self.probabilities(rows, options)
        return np.asarray(1.0 - probabilities[np.arange(len(rows.codes)), rows.codes])

    @staticmethod
    def probabilities(rows: Rows, options: ScreenTable) -> Array:
        """Out-of-fold probabilities, float64 [n, k]; a subject's rows are in one fold."""
        categories = [column.name for column in rows.schema.categories]
        splitter = StratifiedKFold if rows.groups is None else StratifiedGroupKFold
        folds = splitter(options.folds, shuffle=True, random_state=rows.seed)
        frame: Any = rows.filled
        model: Any
        if rows.frame.shape[1] > WIDE:
            frame = np.nan_to_num(rows.coded.to_numpy(), nan=-1e6)
            model = ExtraTreesClassifier(100, min_samples_leaf=2, random_state=rows.seed, n_jobs=-1)
        else:
            # HistGradientBoosting takes at most 255 categories natively; wider ones are treated as ordered codes.
            native = [name for name in categories if rows.frame[name].nunique() < MAX_BINS]
            encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, dtype=np.float64)
            encoded = make_column_transformer((encoder, categories), remainder="passthrough", verbose_feature_names_out=False)
            model = make_pipeline(
                encoded.set_output(transform="pandas"),
                HistGradientBoostingClassifier(random_state=rows.seed, categorical_features=native or None),
            )
        with fitting(rows.frame.size):
            return np.asarray(cross_val_predict(model, frame, rows.codes, groups=rows.groups, cv=folds, method="predict_proba"))

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
