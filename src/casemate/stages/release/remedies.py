"""What to do about findings of high severity: one sentence a kind, and for leaks the lines to
paste.
"""

import json

from casemate.config import Config
from casemate.core.findings import leaks
from casemate.core.types import Finding, Schema

ROWS = (
    "look at the rows with `casemate data quarantine list`; correct the source, or release and drop"
    " rows"
)
REMEDIES = {
    "data.label-noise": f"labels: {ROWS}",
    "data.trigger": f"planted trigger: {ROWS}",
    "data.spectral": f"groups that stand apart: {ROWS}",
    "data.flood": f"near-copies of one row: {ROWS}",
    "data.duplicates": f"equal rows: {ROWS}",
    "data.order": (
        'rows that follow their neighbours: [train] split = "ordered", with [data] time where a'
        " column says when a row arose"
    ),
    "data.unit": "units: convert these cells at the source, or leave the rows out",
    "data.coerced": (
        "cells that are no number: correct them at the source, or name what means missing in [data]"
        " null"
    ),
    "data.missing-target": "rows without a target: label them, or leave them out at the source",
    "data.rule": "a rule of [[data.rules]] is broken: correct the rows at the source, or the rule",
    "assess.shift": (
        "the hold-out is unlike the training rows: [data] subject where one person has several"
        ' rows, or split = "ordered" in [train]'
    ),
    "model.parity": (
        "the served model answers otherwise than the trained one: another estimator in train.py"
    ),
    "assess.not-monotone": (
        "answers that move the wrong way: [data.columns] NAME = { monotone = … } has the model kept"
        " to it, or is wrong itself"
    ),
    "privacy.bound-broken": (
        "an attack tells more than epsilon allows: the training code lets rows out past the noise;"
        " correct train.py"
    ),
}
"""Id of a finding, or the start of it -> what helps."""
OTHERS = "look at what the finding names, and correct the source, casemate.toml or train.py"
WAIVER = (
    "an approver may let it pass for a time: casemate model waive findings --until DATE"
    " --reason WHY"
)


def remedies(findings: list[Finding], schema: Schema, config: Config) -> list[str]:
    """What to do about `findings` that refuse a model, leaks first; a text may have lines of its
    own.
    """
    high = [finding for finding in findings if finding.severity == "high"]
    told = (
        [_of_leaks(findings, schema, config)]
        if any(finding.id == "data.leakage" for finding in high)
        else []
    )
    for finding in high:
        if finding.id != "data.leakage":
            told.append(
                next(
                    (text for start, text in REMEDIES.items() if finding.id.startswith(start)),
                    f"{finding.id}: {OTHERS}",
                )
            )
    return list(dict.fromkeys(told))


def _of_leaks(findings: list[Finding], schema: Schema, config: Config) -> str:
    names = leaks(findings, [column.name for column in schema.columns])
    head = "" if config.data.columns else "\n[data.columns]"
    lines = head + "".join(f"\n{toml_key(name)} = {{ use = false }}" for name in names)
    there = [name for name in names if name in config.data.columns]
    known = (
        f"\n({', '.join(map(repr, there))}: in the entry that is there already)" if there else ""
    )
    lead = "leaks: what is known only after the outcome is no feature;" + (
        " casemate.toml:" if head else " under [data.columns] in casemate.toml"
    )
    return f"{lead}{lines}{known}\nor, if it is known before: {WAIVER}"


def toml_key(name: str) -> str:
    """A column's name as casemate.toml has it, always in quotes."""
    return json.dumps(name, ensure_ascii=False)
