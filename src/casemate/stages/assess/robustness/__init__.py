"""Robust accuracy: which hold-out rows keep their right answer when an attacker moves numbers a little.

The attacker knows the row's true class and may move every numeric feature by at most eps standard deviations (measured
on training rows) inside the pinned range; categories stay. For each eps both attacks run where they apply and the
worse outcome counts. Each larger eps starts from what the smaller one found, so more budget never helps the defender.
"""

from casemate.stages.assess.robustness.measure import measure as measure
