"""Suspected wrong labels: confident learning on out-of-fold probabilities of a gradient-boosted model.

Source: Northcutt, Jiang, Chuang, Confident Learning (JAIR 2021), through cleanlab. A model that barely predicts the
target would flag half of the table, so below `WEAK_AUC` the screen says that it is inconclusive and flags nothing.
"""

import numpy as np
from cleanlab.filter import find_label_issues
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from casemate.config import ScreenTable
from casemate.core.types import Finding, Quarantined
from casemate.stages.data.screen.interface import Rows, Suspicion

WEAK_AUC = 0.6
MAX_BINS = 255


class LabelNoise:
    """Flags rows whose given label the model finds unlikely and confidently another's."""

    id = "label-noise"

    def __call__(self, rows: Rows, options: ScreenTable) -> Suspicion:
        """See `Detector`."""
        members = [rows.codes == code for code in range(len(rows.schema.classes))]
        rarest = min(int(member.sum()) if rows.groups is None else len(np.unique(rows.groups[member])) for member in members)
        if rarest < options.folds:
            unit = "rows" if rows.groups is None else "subjects"
            return self._inconclusive(f"a class has {rarest} {unit}, fewer than {options.folds} folds")
        categories = [column.name for column in rows.schema.categories]
        # HistGradientBoosting takes at most 255 categories natively; wider ones are treated as ordered codes.
        native = [name for name in categories if rows.frame[name].nunique() < MAX_BINS]
        encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, dtype=np.float64)
        model = make_pipeline(
            make_column_transformer((encoder, categories), remainder="passthrough", verbose_feature_names_out=False).set_output(transform="pandas"),
            HistGradientBoostingClassifier(random_state=rows.seed, categorical_features=native or None),
        )
        splitter = StratifiedKFold if rows.groups is None else StratifiedGroupKFold
        folds = splitter(options.folds, shuffle=True, random_state=rows.seed)
        probabilities = cross_val_predict(model, rows.frame, rows.codes, groups=rows.groups, cv=folds, method="predict_proba")
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
        found = [
            Quarantined(
                row=int(row),
                reason=self.id,
                detail=f"given {rows.schema.classes[rows.codes[row]]!r}, probably {rows.schema.classes[likely[row]]!r}",
                score=float(1.0 - given[row]),
            )
            for row in np.flatnonzero(issues)
        ]
        return Suspicion(rows=found, figures={**figures, "label_issues": float(len(found))})

    def _inconclusive(self, why: str, figures: dict[str, float] | None = None) -> Suspicion:
        finding = Finding(
            id="data.label-screen",
            severity="medium",
            confidence="high",
            message=f"the label screen is inconclusive: {why}",
        )
        return Suspicion(findings=[finding], figures=figures or {})
