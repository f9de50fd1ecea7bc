#!/bin/bash
# skl2onnx 1.20.0: histogram gradient boosting with native categories converts without a word to another model.
#
# Expected: a split on a set of categories becomes one, or the conversion fails ("not supported").
# Seen: it becomes a comparison with the number of the node's unused threshold; the graph loads, answers every row, and many
# labels differ. The same model with its categories taken as numbers converts to equal answers.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0 skl2onnx==1.20.0 'protobuf<7' 2>/dev/null
ORT_DISABLE_TELEMETRY=1 HOME=$folder "$folder/env/bin/python" - <<'PY'
import numpy as np
import onnxruntime
import skl2onnx
from sklearn.ensemble import HistGradientBoostingClassifier
from skl2onnx import to_onnx

print("skl2onnx", skl2onnx.__version__)
rng = np.random.default_rng(0)
code = rng.integers(12, size=2000)
X = np.c_[code, rng.normal(size=2000)].astype(np.float32)
y = (np.isin(code, [1, 4, 6, 9, 11]) ^ (X[:, 1] > 1)).astype(int)
agree = {}
for name, categories in (("native", [0]), ("as numbers", None)):
    model = HistGradientBoostingClassifier(max_iter=20, categorical_features=categories).fit(X, y)
    graph = to_onnx(model, X[:1], options={id(model): {"zipmap": False}}, target_opset={"": 18, "ai.onnx.ml": 3})
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    labels = session.run(None, {session.get_inputs()[0].name: X})[0]
    agree[name] = float((labels == model.predict(X)).mean())
    print(f"categories {name}: {agree[name]:.1%} of the labels agree")
assert agree["as numbers"] == 1.0, agree
assert agree["native"] < 0.95, "native categories convert now"
PY
