"""What of a histogram gradient boosting of scikit-learn sites can grow together by sums."""

from typing import Any

from casemate.core.errors import ConfigError
from casemate.ml.answers import last_step
from casemate.ml.federated.trees import POSSIBLE, Growth
from casemate.stages.train.entry import BadEntry

PLAIN: dict[str, tuple[Any, ...]] = {
    "loss": ("log_loss", "squared_error"),
    "max_features": (1.0,),
    "monotonic_cst": (None,),
    "interaction_cst": (None,),
    "class_weight": (None,),
    "early_stopping": ("auto", False),
    "warm_start": (False,),
}
"""Options that must be as they are by themselves; `auto` is none, for sites hold no rows out."""


def growth_of(model: Any) -> Growth:
    """How its trees are grown.

    Raises:
        BadEntry: it has options that sums over sites do not have.
    """
    given = last_step(model).get_params()
    for name, plain in PLAIN.items():
        # an array, such as of constraints, equals each of them by element
        known = given.get(name) is None or isinstance(given[name], str | int | float)
        if name in given and not (known and given[name] in plain):
            raise BadEntry(
                f"sites grow boosted trees without {name}: leave it at"
                f" {' or '.join(map(repr, plain))}"
            )
    depth, leaves = given["max_depth"], given["max_leaf_nodes"]
    low, high = POSSIBLE["depth"]
    if depth is None or not low <= depth <= high:
        raise BadEntry(
            f"sites grow trees level by level, so the entry says how many: max_depth={low:g} to"
            f" {high:g}"
        )
    if leaves is not None and leaves < 2**depth:
        raise BadEntry(
            f"sites grow whole levels, and max_leaf_nodes={leaves} ends within one: say"
            f" max_leaf_nodes=None, or a smaller max_depth than {depth}"
        )
    settings = {
        "trees": given["max_iter"],
        "depth": depth,
        "rate": given["learning_rate"],
        "l2": given["l2_regularization"],
        "bins": given["max_bins"],
        "least": given["min_samples_leaf"],
    }
    try:
        return Growth.of({name: float(value) for name, value in settings.items()})
    except ConfigError as error:
        raise BadEntry(f"{error.message}; sites grow trees with {error.hint}") from error
