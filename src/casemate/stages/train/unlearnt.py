"""Inside the sandbox: the trees of a former model, for a fit that may take over those which held no
row that went or came.
"""

import contextlib
from pathlib import Path
from typing import Any

from casemate.core.errors import VerificationError
from casemate.ml.answers import chained, last_step
from casemate.ml.learn import forest
from casemate.ml.models import load_skops


def recall(path: Path) -> None:
    """Offer the trees of the former model, if there is one."""
    if not path.exists():
        return
    # of classes of the user's own: every tree is grown, which gives the same
    with contextlib.suppress(VerificationError):
        forest.recall(load_skops(path.read_bytes()).estimator)


def of_fitted(model: Any) -> dict[str, Any] | None:
    """What is told of a fitted estimator that can be unlearnt; None of every other.

    Everything before it, such as an encoder, was fitted on the rows at hand alone. Where that
    changed what the trees see, they are others, and none is taken over.
    """
    last = last_step(model) if chained(model) else model
    if not hasattr(last, "as_sklearn"):
        return None
    if not hasattr(last, "digests_"):
        return {"kind": "least-squares"}
    return {
        "kind": "forest",
        "trees": len(last.digests_),
        "each": last.each,
        "kept": last.kept_,
    }
