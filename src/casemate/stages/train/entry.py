"""Inside the sandbox: load the user's entry, and look at what it returns before any row is spent on
it.
"""

import contextlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sklearn.base import BaseEstimator, is_classifier, is_regressor

from casemate.core.errors import Error
from casemate.core.types import Schema
from casemate.ml.answers import last_step
from casemate.ml.own import code as own
from casemate.stages.train import boosters, categories
from casemate.stages.train.candidates import BOUNDED, Models, final_of
from casemate.stages.train.monotone import constrained

NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")


QUANTILE_LOSSES: dict[str, set[str | None]] = {
    "alpha": {"quantile"},
    "quantile_alpha": {"reg:quantileerror"},
    "quantile": {"quantile"},
}
"""Parameters that say a quantile, and the losses beside them under which they do."""


class BadEntry(Exception):
    """The entry does not return what it should; the message says what."""

    kind = "BadEntry"


@contextlib.contextmanager
def in_words() -> Iterator[None]:
    """An error of casemate's in the block is one of the entry's: only words leave this process."""
    try:
        yield
    except Error as error:
        raise BadEntry(f"{error.message}: {error.hint}" if error.hint else error.message) from error


class Columns(NamedTuple):
    """Names of the features, in the order of the frame; what `build(columns)` gets."""

    numbers: list[str]
    """float64, missing is NaN."""
    categories: list[str]
    """Text, missing is "(missing)"."""


class Declared(Columns):
    """The same, and what casemate.toml declares of them."""

    monotone: dict[str, int]
    """Of numbers that may move the prediction one way only: 1 where it may rise with them, -1 where
    it may fall.
    """
    quantile: float | None
    """What is predicted in place of the mean, where `[train] quantile` says so."""


def build(folder: Path, entry: str, job: dict[str, Any], schema: Schema) -> Models:
    """What the entry returns: one unfitted estimator, or several by name.

    Raises:
        BadEntry: it takes or returns something else.
    """
    file, _, name = entry.partition(":")
    function = _function(folder, file, name)
    wants = _wants_columns(function, name)
    features = schema.features
    columns = Declared(
        [column.name for column in features if column.type != "category"],
        [column.name for column in features if column.type == "category"],
    )
    columns.monotone, columns.quantile = dict(job.get("monotone", {})), job["train"].get("quantile")
    returned = function(columns) if wants else function()
    if not isinstance(returned, dict):
        return _kept(Models({"": _checked(returned, f"{name}()", job, schema)}), columns)
    if not returned or not all(isinstance(key, str) and NAME.fullmatch(key) for key in returned):
        raise BadEntry(f'{name}() returned a dictionary, whose keys must be names such as "trees"')
    return _kept(
        Models(
            {
                key: _checked(value, f"{name}()[{key!r}]", job, schema)
                for key, value in returned.items()
            }
        ),
        columns,
    )


def _kept(models: Models, columns: Declared) -> Models:
    """Those that were given what casemate.toml asks for; BadEntry when none was."""
    kept = models.by_name
    if columns.monotone:
        kept = {name: model for name, model in kept.items() if constrained(model)}
        if not kept:
            raise BadEntry(
                f"[data.columns] {next(iter(columns.monotone))}: monotone, and no model was given"
                " that: use trees with monotonic_cst, as in the template, where columns.monotone"
                " says the directions"
            )
    if columns.quantile is not None:
        kept = {name: model for name, model in kept.items() if of_quantile(model, columns.quantile)}
        if not kept:
            raise BadEntry(
                f"[train] quantile: no model predicts the quantile {columns.quantile:g}: use one"
                ' with a quantile loss, such as HistGradientBoostingRegressor(loss="quantile",'
                " quantile=columns.quantile)"
            )
    return Models(kept, {*models.by_name} - {*kept})


def of_quantile(model: Any, quantile: float) -> bool:
    """Whether the quantile stands among the estimator's parameters, as a number or in the name of a
    loss.
    """
    params = model.get_params()
    for name, value in params.items():
        before, _, last = name.rpartition("__")
        beside = {
            key: params.get(f"{before}__{key}" if before else key) for key in ("loss", "objective")
        }
        # `QuantileRegressor` has no other loss
        if last == "quantile" and value == quantile and not any(beside.values()):
            return True
        if last == "loss_function" and value == f"Quantile:alpha={quantile:g}":
            return True
        if (
            last in QUANTILE_LOSSES
            and isinstance(value, int | float)
            and value == quantile
            and {*beside.values()} & QUANTILE_LOSSES[last]
        ):
            return True
    return False


def is_linear(estimator: Any) -> bool:
    """Whether it ends in a linear model that has a private form."""
    return final_of(estimator) in BOUNDED and not is_network(estimator)


def is_network(estimator: Any) -> bool:
    """Whether it was a torch network."""
    return type(estimator).__name__ == "NetworkClassifier"


def _function(folder: Path, file: str, name: str) -> Any:
    path = folder / file
    # in a folder, not in memory: the processes of `[train] jobs` import them too
    sys.path[:0] = [str(folder / own.FOLDER), str(path.parent), str(folder)]
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader  # noqa: S101 - the file was copied here
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    function = getattr(module, name, None)
    if not callable(function):
        raise BadEntry(f"{file} has no function {name!r}")
    return function


def _wants_columns(function: Any, name: str) -> bool:
    """Whether it takes the columns' names; BadEntry when it can be called neither with them nor
    with nothing.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # of C, which says nothing of itself
        return False
    for given in (1, 0):
        with contextlib.suppress(TypeError):
            signature.bind(*range(given))
            return bool(given)
    # names alone: a default may be anything
    named = [
        one.replace(default=one.empty, annotation=one.empty)
        for one in signature.parameters.values()
    ]
    takes = signature.replace(parameters=named, return_annotation=signature.empty)
    raise BadEntry(
        f"{name}{takes} cannot be called: it is given one thing, the names of the columns, or"
        f" nothing where it takes nothing: write `def {name}(columns):` or `def {name}():`"
    )


def _checked(estimator: Any, name: str, job: dict[str, Any], schema: Schema) -> Any:
    if "torch" in sys.modules and isinstance(estimator, sys.modules["torch"].nn.Module):
        if schema.regression:
            raise BadEntry(
                f"{name} returned a torch network, which is trained as a classifier only: return a"
                " scikit-learn regressor"
            )
        if schema.labels:
            raise BadEntry(
                f"{name} returned a torch network, which is trained for one target: return a"
                " scikit-learn classifier, which is fitted once a label"
            )
        return _network(estimator, job)
    if schema.labels:
        estimator = _of_one_label(estimator, name)
    if boosters.library(last_step(estimator)) == "catboost":
        categories.cloneable(last_step(estimator))
    if boosters.library(estimator) and not isinstance(estimator, type):
        told = [(column.name, column.type == "category") for column in schema.features]
        estimator = categories.encoded(estimator, boosters.library(estimator), told)
    ours = not isinstance(estimator, type) and (
        isinstance(estimator, BaseEstimator) or bool(boosters.library(estimator))
    )
    if schema.regression:
        if not ours or not is_regressor(estimator):
            raise BadEntry(
                f"{name} returned {type(estimator).__name__}, expected an unfitted scikit-learn"
                " regressor ([data] task is regression)"
            )
        return estimator
    if not ours or not is_classifier(estimator):
        raise BadEntry(
            f"{name} returned {type(estimator).__name__}, expected an unfitted scikit-learn"
            " classifier or a torch.nn.Sequential"
        )
    if not hasattr(estimator, "predict_proba") and job["train"]["mode"] != "private":
        raise BadEntry(
            f"{name} returned {type(estimator).__name__} without predict_proba; wrap it in"
            " CalibratedClassifierCV"
        )
    return estimator


def _of_one_label(estimator: Any, name: str) -> Any:
    """What is fitted once a label: the classifier inside of a `MultiOutputClassifier`, else the
    estimator itself; a chain is refused, in which one label would be a feature of the next.
    """
    if type(estimator).__name__ == "MultiOutputClassifier":
        return estimator.estimator
    if type(estimator).__name__ == "ClassifierChain":
        raise BadEntry(
            f"{name} returned ClassifierChain, and every label is learnt, attacked and gated for"
            " itself: return the classifier inside of it, which is fitted once a label"
        )
    return estimator


def _network(module: Any, job: dict[str, Any]) -> Any:
    from casemate.ml.learn.layers import describe
    from casemate.ml.learn.network import NetworkClassifier

    layers = describe(module)
    leaves = [part for part in module.modules() if not list(part.children())]
    frozen = {
        f"{place}.{name}": parameter.detach().numpy().copy()
        for place, leaf in enumerate(leaves)
        for name, parameter in leaf.named_parameters()
        if not parameter.requires_grad
    }
    settings = job["train"]["network"]
    return NetworkClassifier(
        layers=[list(layer) for layer in layers],
        frozen=frozen,
        numbers={name: tuple(limits) for name, limits in job["limits"]["numbers"].items()},
        categories=job["limits"]["categories"],
        epochs=settings["epochs"],
        batch=settings["batch"],
        rate=settings["rate"],
        momentum=settings["momentum"],
        seed=job["train"]["seed"],
    )
