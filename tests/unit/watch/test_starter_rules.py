"""The rules that ship: each matches what it is about, not what is nearly that, and names only what
the product says.
"""

import re
from pathlib import Path

import pytest
import yaml
from tests.unit.watch.rule_lines import denied, line

import casemate
from casemate.core.errors import Error
from casemate.watch.rules import STARTER, Rules

SOURCE = Path(casemate.__file__).parent
DAY = 24 * 3600


def done(action: str, at: float = 0.0, **fields):
    return line(at, action=action, reason="done", outcome="success", user="ana", **fields)


def asked(at: float, code: str, user: str = "service"):
    return line(
        at, dataset="casemate.request", action="infer", code=code, user=user, outcome="failure"
    )


def tokens(*times: float):
    return [denied(one, "anonymous", "access:authenticate") for one in times]


ACTIONS = ["model:read", "keys:read", "audit:read", "run:start", "store:read"]
CASES = {
    "denied-again-and-again": (
        [denied(one) for one in range(10)],
        [denied(one * 70) for one in range(20)],
    ),
    "denied-many-actions": (
        [denied(one, action=action) for one, action in enumerate(ACTIONS)],
        [denied(one, action=action) for one, action in enumerate(ACTIONS[:4] * 3)],
    ),
    "own-model-approved": ([denied(0, action="model:approve")], [done("model:approve")]),
    "key-destroyed": ([done("keys:destroy")], [denied(0, action="keys:destroy")]),
    "keys-copied": ([done("keys:backed-up")], [done("backup:created")]),
    "signer-changed": ([done("signer:compromised")], [done("keys:rotated")]),
    "log-forked": ([line(action="audit:fork", reason="failed")], [done("audit:resolved")]),
    "model-probed": (
        [asked(one, "CM-INPUT") for one in range(20)],
        [asked(one, "CM-INPUT", user=str(one % 2)) for one in range(38)],
    ),
    "quota-exhausted": (
        [asked(one, "CM-RATE") for one in range(100)],
        [asked(one * 7, "CM-RATE") for one in range(200)],
    ),
    "privacy-budget-exhausted": ([denied(0, action="budget:spent")], [done("budget:spent")]),
    "revoked-token-used": (
        [done("token:revoke", 10), *tokens(20)],
        [*tokens(0), done("token:revoke", 10), *tokens(10 + 3601)],
    ),
    "policy-changed": ([done("policy:change")], [denied(0, action="policy:change")]),
    "rights-given": ([done("access:delegation")], [done("role:withdraw")]),
    "emergency": ([done("access:break-glass")], [denied(0, action="access:break-glass")]),
    "login-guessed": (
        [denied(one, action="access:step-up") for one in range(5)],
        [done("access:login", one) for one in range(9)],
    ),
    "model-withdrawn": (
        [line(action="model:withdrawn", reason="failed")],
        [done("model:promoted")],
    ),
    "foreign-model-refused": ([denied(0, action="model:imported")], [done("model:imported")]),
    "runs-refused": (
        [line(one, action="run:end", reason="refused", user="ana") for one in range(5)],
        [line(one, action="run:end", reason="passed", user="ana") for one in range(9)],
    ),
    "restored-then-copied": (
        [done("backup:restored"), line(9, action="model:export", reason="allowed")],
        [line(0, action="model:export", reason="allowed"), done("backup:restored", 9)],
    ),
    "rows-erased": ([done("subject:erased")], [done("keys:shred")]),
}


def test_every_rule_that_ships_has_its_cases_and_runs():
    assert {path.stem for path in STARTER.iterdir()} == set(CASES)
    made = Rules()
    assert made.faults == []
    assert {rule.level for rule in made.rules if rule.is_told} <= {
        "critical",
        "high",
        "medium",
        "low",
        "informational",
    }


@pytest.mark.parametrize("name", CASES)
def test_a_rule_that_ships_matches_what_it_is_about_and_not_what_is_nearly_that(name):
    hit, miss = CASES[name]
    file = STARTER / f"{name}.yml"
    assert [one.rule.file for one in Rules(file, starter=False).judge(hit)] == [file.name]
    assert Rules(file, starter=False).judge(miss) == []


@pytest.mark.parametrize("name", CASES)
def test_every_rule_that_ships_says_what_it_is_how_bad_and_when_it_is_harmless(name):
    *_, told = yaml.safe_load_all((STARTER / f"{name}.yml").read_text())
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", told["id"])
    assert told["title"][0].isupper() and len(told["title"]) < 80
    assert told["falsepositives"] and all(isinstance(one, str) for one in told["falsepositives"])
    for tag in told.get("tags", []):
        assert re.fullmatch(r"attack\.(t\d{4}(\.\d{3})?|[a-z-]+)|atlas\.aml\.t\d{4}", tag)


def unsaid(words: set[str]) -> set[str]:
    """Those that stand nowhere in the product's code and policies as a whole text."""
    text = "\n".join(
        path.read_text() for kind in ("*.py", "*.cedarschema") for path in SOURCE.rglob(kind)
    )
    return {one for one in words if MADE.get(one, f'"{one}"') not in text}


MADE = {"access:delegation": 'f"access:{'}
"""Actions whose second half comes from elsewhere: `_lend` in operations/access/people.py."""


def named(value, field: str) -> set[str]:
    """What a document says of a field."""
    if isinstance(value, list):
        return set().union(*(named(one, field) for one in value))
    if not isinstance(value, dict):
        return set()
    found = set().union(*(named(one, field) for one in value.values()))
    given = value.get(field, [])
    return found | set(given if isinstance(given, list) else [given])


def said(field: str) -> set[str]:
    return set().union(
        *(named(list(yaml.safe_load_all(path.read_text())), field) for path in STARTER.iterdir())
    )


def test_every_action_and_outcome_that_a_rule_names_is_one_of_the_products():
    assert unsaid(said("event.action") | said("event.reason")) == set()
    assert unsaid({"role:grant", "role:granted", "denied"}) == {"role:granted"}


def test_every_code_that_a_rule_names_is_one_of_the_products():
    import casemate.serve.guard
    import casemate.serve.quota  # noqa: F401

    def below(kind):
        return {kind.code}.union(*map(below, kind.__subclasses__()))

    codes = said("error.code")
    assert codes and codes <= below(Error)
