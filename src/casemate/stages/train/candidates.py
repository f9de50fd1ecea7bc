"""The estimators to choose among."""

from collections.abc import Collection
from typing import Any

from sklearn.base import clone

from casemate.ml.answers import last_step

MODEL = "model"
"""The parameter that chooses among several."""
BOUNDED = (
    "LogisticRegression",
    "PrivateClassifier",
    "SGDClassifier",
    "LogisticRegressionCV",
    "LinearSVC",
    "RidgeClassifier",
    "NetworkClassifier",
)
"""Final estimators that private and adversarial training prefer."""


class Models:
    """Estimators to choose among; a search names them by `model`, and their parameters as
    `NAME__PARAMETER`.
    """

    def __init__(self, by_name: dict[str, Any], left_out: Collection[str] = ()) -> None:
        """Take them, the first is the one that is trained where no search chooses; `""` names a
        single one.

        Args:
            by_name: unfitted estimators.
            left_out: names of others that cannot do what casemate.toml asks for; a search may name
                them in vain.
        """
        self.by_name = by_name
        self.left_out = frozenset(left_out)

    @property
    def first(self) -> Any:
        """The one that is trained where no search chooses."""
        return next(iter(self.by_name.values()))

    @property
    def single(self) -> bool:
        """Whether there is nothing to choose."""
        return "" in self.by_name

    def for_mode(self, mode: str, space: dict[str, Any]) -> "Models":
        """Those that the mode can train well: private and adversarial training keep linear models
        and networks where there are some.

        What a search names alone stays: somebody asked for it.
        """
        if self.single or mode == "plain":
            return self
        asked = space.get(MODEL, list(self.by_name))
        named = {name: model for name, model in self.by_name.items() if name in asked}
        fitting = {name: model for name, model in named.items() if final_of(model) in BOUNDED}
        return Models(fitting or named or self.by_name, self.left_out)

    def unknown(self, space: dict[str, Any]) -> str:
        """A name of the search that is no parameter; empty when there is none."""
        if self.single:
            return next((name for name in sorted(space) if name not in self.first.get_params()), "")
        known = {
            f"{name}__{one}" for name, model in self.by_name.items() for one in model.get_params()
        }
        return next((name for name in sorted(space) if name != MODEL and name not in known), "")

    def kept(self, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters that concern the model that they choose."""
        if self.single:
            return params
        chosen = params.get(MODEL, next(iter(self.by_name)))
        return {
            name: value
            for name, value in params.items()
            if name == MODEL or name.startswith(f"{chosen}__")
        }

    def made(self, params: dict[str, Any]) -> Any:
        """A fresh estimator with these parameters."""
        if self.single:
            return clone(self.first).set_params(**params)
        chosen = params.get(MODEL, next(iter(self.by_name)))
        given = {
            name.partition("__")[2]: value
            for name, value in params.items()
            if name.startswith(f"{chosen}__")
        }
        return clone(self.by_name[chosen]).set_params(**given)


def final_of(model: Any) -> str:
    """Name of the class that a pipeline ends in."""
    return type(last_step(model)).__name__
