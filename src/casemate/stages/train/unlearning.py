"""Outside of the sandbox: which former model training is offered, and what is recorded of it."""

from casemate.core.types import Unlearning
from casemate.ml.models import FORMER
from casemate.stages.train.answer import SaidUnlearning
from casemate.stages.train.tools import TrainTools


def offered(tools: TrainTools) -> dict[str, bytes]:
    """The former model's file, for plain training."""
    if tools.former is None or tools.config.train.mode != "plain":
        return {}
    return {FORMER: tools.former.content}


def learnt(tools: TrainTools, said: SaidUnlearning | None, rows: int) -> Unlearning | None:
    """What is recorded of an estimator that can be unlearnt.

    Args:
        tools: with the former model, if there was one.
        said: by the training process; None: it is another estimator.
        rows: training rows.
    """
    if said is None or tools.config.train.mode != "plain":
        return None
    former = tools.former if said.kept <= said.trees else None
    return Unlearning(
        kind=said.kind,
        trees=said.trees,
        each=said.each,
        rows=rows,
        former=former.reference if former else "",
        former_rows=former.rows if former else 0,
        former_data=former.data if former else "",
        kept=said.kept if former else 0,
    )
