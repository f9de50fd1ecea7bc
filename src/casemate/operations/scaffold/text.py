"""What is written into a new project's casemate.toml."""

import json
from importlib import resources
from string import Template

import tomlkit

from casemate.config import DataTable
from casemate.operations.scaffold.plan import READING, Plan
from casemate.stages.data.entries import line, quoted

_SEARCHED = {
    "train_table.txt": (
        "clf__max_leaf_nodes",
        ((3,), (3, 5), (5, 15)),
        "clf__C",
        (0.1, 1.0),
        "roc_auc",
    ),
    "train_quantity.txt": (
        "reg__max_leaf_nodes",
        ((5, 8), (8, 15), (15, 31)),
        "reg__alpha",
        (1.0, 100.0),
        "neg_root_mean_squared_error",
    ),
    "train_quantities.txt": (
        "reg__estimator__max_leaf_nodes",
        ((5, 8), (8, 15), (15, 31)),
        "reg__alpha",
        (1.0, 100.0),
        "r2",
    ),
}
"""By template: what the size of a tree is called, and may be with few, more and many rows; the
linear model's strength; the scorer.
"""
FEW_ROWS, MANY_ROWS = 2_000, 10_000
"""Larger trees learn fewer rows by heart: on three thousand made-up ones trees of 15 leaves had a
membership AUC of .71, of 3 leaves .56.
"""
FOLDED = 20_000
"""From here on three folds tell candidates apart as well as five."""


def casemate_toml(plan: Plan, identifier: str, passphrase: str | None) -> str:
    """The configuration of a new project."""
    data = plan.data
    extra = ['task = "regression"'] if data.task == "regression" else []
    extra += [f"subject = {quoted(data.subject)}"] if data.subject else []
    extra += [f"time = {quoted(data.time)}"] if data.time else []
    extra += (
        ['missing_target = "drop"    # rows without a target']
        if data.missing_target == "drop"
        else []
    )
    usual = DataTable(source="", target="")
    for name in READING:
        if (value := getattr(data, name)) != getattr(usual, name):
            extra.append(f"{name} = {tomlkit.item(value).as_string()}")
    reasons = {role.name: role.reason for role in plan.roles}
    columns = ["[data.columns]"] if data.columns else []
    for name, column in data.columns.items():
        reason = reasons.get(name, "")
        columns.append(line(name, column) + (f"    # {reason}" if reason else ""))
    likely = [quoted(name) for name in plan.protected]
    if likely:
        columns += [
            (
                "# Likely protected attributes; fairness is measured by those that say protected ="
                " true:"
            )
        ]
        columns += [f"# {name} = {{ protected = true }}" for name in likely]
    gates = plan.gates + (
        "\n# demographic_parity_difference = { max = 0.1 }   # by what says protected = true"
        if likely
        else ""
    )
    return Template(template("casemate.txt").decode()).substitute(
        name=json.dumps(plan.name),
        id=json.dumps(identifier),
        purpose=json.dumps(plan.purpose),
        source=tomlkit.item(data.source).as_string(),
        target=tomlkit.item(data.target).as_string(),
        data="\n".join([*extra, ""]) if extra else "",
        columns="\n".join([*columns, ""]),
        search=_search(plan),
        cap=plan.cap,
        gates=gates,
    ) + (f"\n[keys]\npassphrase = {json.dumps(passphrase)}\n" if passphrase else "")


def _search(plan: Plan) -> str:
    """What `[train]` tries: a linear model and boosted trees, as large as the table can feed."""
    if plan.train not in _SEARCHED:
        return 'search = { "clf__C" = [0.01, 0.1, 1.0, 10.0] }\nmetric = "roc_auc"'
    leaves, sizes, strength, strengths, metric = _SEARCHED[plan.train]
    size = list(sizes[(plan.rows >= FEW_ROWS) + (plan.rows >= MANY_ROWS)])
    tried = (
        f'model = ["trees", "linear"], "trees__{leaves}" = {size}, "linear__{strength}" ='
        f" {list(strengths)}"
    )
    return f'search = {{ {tried} }}\nmetric = "{metric}"' + (
        "\nfolds = 3" if plan.rows >= FOLDED else ""
    )


def template(name: str) -> bytes:
    """A file that comes with casemate."""
    return (resources.files("casemate.templates") / name).read_bytes()
