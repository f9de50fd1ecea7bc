"""Robust accuracy: which hold-out rows keep their right answer when an attacker changes what he
can.

The attacker knows the row's true class and may move every numeric feature by at most eps standard
deviations (measured on training rows) or shares of its range, inside the pinned range and the
limits of `[robustness.features]`: immutable, one-way, whole or budgeted numbers, categories that
can be chosen. For each eps the attacks run that fit the model, on the rows that no bound covers,
and the worst outcome counts: along the thresholds of trees (`thresholds`), else along gradients, at
random and by labels alone. Each larger eps starts from what the smaller one found, so more budget
never helps the defender. Bounds that no attack can break stand beside them where a method gives
some.

A regressor is right where its quantities lie within `[robustness] tolerance` of the truth; no
method here gives bounds for it.
"""

from casemate.stages.assess.robustness.measure import findings as findings
from casemate.stages.assess.robustness.measure import measure as measure
