#!/bin/bash
# adversarial-robustness-toolbox 1.20.1: AutoAttack.generate imports `multiprocess` although nothing is to run in parallel.
#
# Expected: `AutoAttack(..., parallel_pool_size=0)`, whose documentation says that "computation runs without
# multiprocessing", runs with what the package declares (numpy, scikit-learn, scipy, setuptools, six, tqdm); or the
# package declares `multiprocess`.
# Seen: the import stands at the top of `generate`, so every call ends with ModuleNotFoundError; `pip check` is silent.
#
# `packaging`, which `import art.attacks.evasion` needs and the package does not declare either, is installed here.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check \
  adversarial-robustness-toolbox==1.20.1 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 packaging==26.3 2>/dev/null
"$folder/env/bin/pip" check
HOME=$folder "$folder/env/bin/python" - <<'PY'
import numpy as np
from art.attacks.evasion import AutoAttack, FastGradientMethod
from art.estimators.classification import SklearnClassifier
from sklearn.linear_model import LogisticRegression

rows = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
codes = (rows.sum(axis=1) > 0).astype(int)
model = SklearnClassifier(LogisticRegression().fit(rows, codes), clip_values=(-5.0, 5.0))
one = FastGradientMethod(model, eps=0.1)
assert (one.generate(rows) != rows).any(), "the attack itself works"
try:
    AutoAttack(model, eps=0.1, eps_step=0.05, attacks=[one], parallel_pool_size=0).generate(rows, codes)
except ModuleNotFoundError as error:
    print("AutoAttack without parallel attacks:", error)
    raise SystemExit(0 if error.name == "multiprocess" else "another module is missing") from None
raise SystemExit("AutoAttack ran: the behaviour has changed")
PY
