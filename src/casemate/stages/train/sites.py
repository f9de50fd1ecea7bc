"""Inside the sandbox: made-up sites train the user's model together, each from its own rows alone.

What comes back are numbers of rounds and sites; no name, no row and no weight.
"""

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from casemate.config import TrainTable
from casemate.core.sandbox.child import Channel, Watch
from casemate.core.types import Schema
from casemate.ml.answers import last_step
from casemate.ml.federated import drawn, encoding, simulated_trees, simulation, trees
from casemate.ml.federated.learners import Learner, LinearLearner, NetworkLearner
from casemate.ml.federated.local import SiteRows
from casemate.ml.frame import codes_of, features_of, groups_of, open_table, target_of
from casemate.stages.train.candidates import Models, final_of
from casemate.stages.train.entry import BadEntry, build, in_words, is_network
from casemate.stages.train.growth import growth_of

Array = np.ndarray[Any, Any]
SITE = "__site__"
"""The column with the number of each row's site; -1: no site has it, accuracy is measured on it."""
TRAINABLE = ("LogisticRegression", "NetworkClassifier", "Ridge", "LinearRegression")
"""Beside boosted trees, which are grown where the entry returns none of these."""


def main(job: dict[str, Any], channel: Channel, watch: Watch) -> dict[str, Any]:
    """Simulate; see `simulation.Simulated` for what it says."""
    options = msgspec.convert(job["train"], TrainTable)
    schema = msgspec.convert(job["schema"], Schema)
    design = msgspec.convert(job["design"], simulation.Design)
    limits = msgspec.convert(job["limits"], encoding.Limits)
    table = open_table(job["tables"][0])
    frame = features_of(table, schema)
    where = np.asarray(table[SITE].to_numpy(), dtype=np.int64)
    random.seed(options.seed)
    np.random.seed(options.seed)  # noqa: NPY002 - user code may draw from the global generator

    sys.addaudithook(watch)
    models = build(Path(job["inputs"]), job["entry"], job, schema)
    with in_words():
        model = chosen(models)
        if design.epsilon and design.rule == simulation.EXACT:
            drawn.require_covered(final_of(model))
        if final_of(model) in trees.ESTIMATORS:
            whole = trees.Site.of(table, frame, schema, limits, growth_of(model))
            grown = boosted_of(whole, where, design, int(job["least"]), channel.progress)
            forests: dict[str, Any] = msgspec.to_builtins(grown)
            return forests
        if schema.regression:
            sums = quantities_of(
                model, limits, frame, target_of(table, schema)[:, 0], where, design
            )
            quantities: dict[str, Any] = msgspec.to_builtins(sums)
            return quantities
        codes = codes_of(table, schema)
        learner, rows = learner_of(
            model, limits, frame, where, len(schema.classes), noisy=design.epsilon > 0
        )
        owners = groups_of(table)
        sites = [
            SiteRows(
                rows[where == place],
                codes[where == place],
                options.seed + place,
                None if owners is None else owners[where == place],
            )
            for place in range(int(where.max()) + 1)
        ]
        held = rows[where < 0], codes[where < 0]
        with np.errstate(over="ignore", invalid="ignore"):  # of liars and wild rates: refused
            told, _ = simulation.simulate(learner, sites, held, design, channel.progress)
    found: dict[str, Any] = msgspec.to_builtins(told)
    return found


def chosen(models: Models) -> Any:
    """The first model that sites can train together; boosted trees where there is no other.

    Raises:
        BadEntry: there is none.
    """
    for known in (TRAINABLE, trees.ESTIMATORS):
        for model in models.by_name.values():
            if final_of(model) in known:
                return model
    names = ", ".join(sorted({final_of(model) for model in models.by_name.values()}))
    raise BadEntry(
        "sites train a LogisticRegression, a torch.nn.Sequential, a Ridge, a LinearRegression or a"
        f" HistGradientBoosting together, and the entry returns {names}"
    )


def learner_of(
    model: Any,
    limits: encoding.Limits,
    frame: Any,
    where: Array,
    classes: int,
    *,
    noisy: bool = False,
) -> tuple[Learner, Array]:
    """(what is trained, the encoded features [n, d]).

    Args:
        model: of the entry.
        limits: of the features.
        frame: the rows [n, ...].
        where: site of each row [n].
        classes: k.
        noisy: scale by the limits alone; sums of sites would tell of rows without noise.

    Raises:
        BadEntry: it has options that sums over sites do not have.
    """
    if is_network(model):
        return NetworkLearner(list(model.layers), classes, model.frozen), model.encode(frame)
    strength = settings_of(model)["C"]
    scale = encoding.declared(limits) if noisy else scale_of(limits, frame, where)
    learner = LinearLearner(limits.width, classes, strength)
    return learner, encoding.encode(frame, limits, scale)


def settings_of(model: Any) -> dict[str, float]:
    """`C` of a logistic regression, `alpha` of a regression, `Growth.settings` of boosted trees:
    all that its sums depend on.

    Raises:
        BadEntry: it has options that sums over sites do not have.
    """
    if final_of(model) in trees.ESTIMATORS:
        return growth_of(model).settings
    settings = last_step(model).get_params()
    if final_of(model) == "LogisticRegression":
        plain = settings["penalty"] in ("l2", "deprecated") and not settings["l1_ratio"]
        if not plain or not settings["fit_intercept"] or settings["class_weight"] is not None:
            raise BadEntry(
                "sites train LogisticRegression with an L2 penalty, an intercept and no class"
                " weights together, and the entry asks for something else"
            )
        return {"C": float(settings["C"])}
    if not settings["fit_intercept"] or settings["positive"] or np.ndim(settings.get("alpha", 0)):
        raise BadEntry(
            "sites sum a Ridge or LinearRegression with an intercept, one alpha and coefficients of"
            " either sign, and the entry asks for something else"
        )
    return {"alpha": float(settings.get("alpha", 0.0))}


def scale_of(limits: encoding.Limits, frame: Any, where: Array) -> encoding.Scale:
    """Means and deviations by sums of the sites."""
    places = range(int(where.max()) + 1)
    return encoding.scale_of([limits.moments(frame[where == at]) for at in places], limits)


def quantities_of(
    model: Any,
    limits: encoding.Limits,
    frame: Any,
    values: Array,
    where: Array,
    design: simulation.Design,
) -> simulation.Simulated:
    """A ridge regression, or least squares, by sums; BadEntry for options that sums do not have."""
    alpha = settings_of(model)["alpha"]
    rows = encoding.encode(frame, limits, scale_of(limits, frame, where))
    sites = [(rows[where == at], values[where == at]) for at in range(int(where.max()) + 1)]
    held = rows[where < 0], values[where < 0]
    return simulation.least_squares(sites, held, alpha, design)


def boosted_of(
    whole: trees.Site,
    where: Array,
    design: simulation.Design,
    least: int,
    progress: Callable[[str, int, int], None],
) -> simulation.Simulated:
    """Boosted trees by sums.

    Args:
        whole: all rows [n].
        where: site of each [n].
        design: what is done.
        least: rows that a figure of a site may be about.
        progress: hears how it goes.

    Raises:
        ConfigError, BadEntry: no site would grow such trees.
    """
    design.require_sums("grow boosted trees")
    if design.epsilon:
        return _drawn_of(whole, where, design, progress)
    if whole.growth.least < least:
        raise BadEntry(
            f"a site tells nothing of fewer than {least} rows ([privacy] min_group), and the"
            f" entry's min_samples_leaf is {whole.growth.least}"
        )
    whole.growth.require_size(whole.limits, whole.classes)
    # without masks a coordinator sees what each site says
    apart = 0 if design.masked else least
    sites = [whole.part(where == at, apart) for at in range(int(where.max()) + 1)]
    held = whole.part(where < 0)
    return simulated_trees.boosted(sites, whole.part(where >= 0), held, design, progress)


def _drawn_of(
    whole: trees.Site,
    where: Array,
    design: simulation.Design,
    progress: Callable[[str, int, int], None],
) -> simulation.Simulated:
    """Boosted trees with noise; arguments as `boosted_of` has them."""
    plan = drawn.planned(design.plan, whole.growth, design.epsilon, design.delta)
    sites = [whole.part(where == at) for at in range(int(where.max()) + 1)]
    held, noisy = whole.part(where < 0), msgspec.structs.replace(design, plan=plan)
    return simulated_trees.drawn_by(sites, held, noisy, progress)
