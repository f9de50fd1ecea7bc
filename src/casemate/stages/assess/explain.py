"""What each figure that a gate may name stands on, and what it cannot see.

The shares of wrong intervals are those of `bench/assurance/figures.py --scale 0.4`: kinds of 100
000 rows have 120 tables each, too few to name the worst of them.
"""

import difflib

from casemate.core.errors import ConfigError
from casemate.stages.assess.explanations.attacks import ATTACKS
from casemate.stages.assess.explanations.checks import CHECKS
from casemate.stages.assess.explanations.quality import QUALITY
from casemate.stages.assess.explanations.terms import Explanation

TITLES = {
    "figure": "figure",
    "estimator": "estimator",
    "assumes": "assumes",
    "source": "source",
    "blind": "cannot see",
    "wrong": "interval wrong",
}
"""What the parts of an explanation are called where people read them."""


def explain(figure: str) -> Explanation:
    """What `figure` stands on.

    Args:
        figure: a name of `config.FIGURES`, or `TABLE.FIGURE`.

    Raises:
        ConfigError: no gate can name it.
    """
    name = figure.rpartition(".")[2]
    if name not in EXPLANATIONS:
        close = difflib.get_close_matches(name, EXPLANATIONS, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"one of {', '.join(EXPLANATIONS)}"
        raise ConfigError(f"no gate can name a figure {figure!r}", hint=hint)
    return EXPLANATIONS[name]


EXPLANATIONS = {one.figure: one for one in (*QUALITY, *ATTACKS, *CHECKS)}
"""One for each of `config.FIGURES`."""
