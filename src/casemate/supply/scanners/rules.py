"""What is wrong has one name, whoever says it: rules that more than one scanner knows, and ours.

CWE: https://cwe.mitre.org; OWASP Machine Learning Security Top Ten (2023, draft 0.3); MITRE ATLAS
5.6 (AML.T…).
"""

from dataclasses import dataclass

from casemate.core.types.scan import Grade


@dataclass(frozen=True)
class Rule:
    """One thing that can be wrong."""

    title: str
    severity: Grade
    references: tuple[str, ...]
    mend: str
    bandit: tuple[str, ...] = ()
    """Tests of bandit that say the same."""


RULES: dict[str, Rule] = {
    "code.eval": Rule(
        "text is run as code",
        "medium",
        ("CWE-95", "AML.T0011"),
        "ast.literal_eval for values; a table of functions for names",
        ("B307", "B102"),
    ),
    "code.unsafe-load": Rule(
        "a file is loaded that can run code",
        "high",
        ("CWE-502", "OWASP-ML06:2023", "AML.T0011.000"),
        "safetensors, ONNX, or skops with a list of types; allow_pickle=False, weights_only=True",
        ("B301", "B302", "B506", "B614"),
    ),
    "code.tls-off": Rule(
        "certificates are not checked",
        "high",
        ("CWE-295",),
        "give the authority's certificate instead: verify=FILE",
        ("B501", "B323"),
    ),
    "code.unpinned-hub": Rule(
        "a model or table is fetched by a name whose content may change",
        "medium",
        ("CWE-494", "OWASP-ML06:2023", "AML.T0010"),
        "name a revision: a commit's digest",
        ("B615",),
    ),
    "code.remote-code": Rule(
        "code of whoever made the model is run",
        "high",
        ("CWE-829", "OWASP-ML06:2023", "AML.T0010.001"),
        "trust_remote_code=False, or a copy of that code in this repository",
    ),
    "code.fit-before-split": Rule(
        "something learns from all rows before they are split",
        "medium",
        ("OWASP-ML10:2023", "AML.T0020"),
        "split first, or put the step into the pipeline that is fitted",
    ),
    "code.trained-on-test": Rule(
        "rows of the test side are trained on",
        "high",
        ("OWASP-ML10:2023",),
        "fit on the training side alone",
    ),
    "code.notebook-shell": Rule(
        "a notebook has lines that no scanner reads",
        "low",
        ("CWE-78",),
        "do it outside of the notebook, in a file that is looked at",
    ),
}
_BY_BANDIT = {test: name for name, rule in RULES.items() for test in rule.bandit}


def of_bandit(test: str) -> str:
    """Our name of what a test of bandit finds; `bandit.TEST` where we have none."""
    return _BY_BANDIT.get(test, f"bandit.{test[:20]}")


def references(rule: str) -> tuple[str, ...]:
    """What others call it."""
    return RULES[rule].references if rule in RULES else ()


def severity(rule: str, said: Grade) -> Grade:
    """How grave it is: by our table, so that it is the same whoever says it; else as `said`."""
    return RULES[rule].severity if rule in RULES else said


def mend(rule: str) -> str:
    """What to do."""
    return RULES[rule].mend if rule in RULES else ""
