"""A scan of a gateway that runs: a scratch copy, everybody at every door, and nothing of the project
itself changed.
"""

import json
import secrets
import sys

import pytest
from tests.conftest import tree
from tests.unit.operations import faulty_gateway

import casemate
from casemate.core.files import make_folder
from casemate.core.home import keystore_folder
from casemate.operations.scans import scanners
from casemate.operations.scans.endpoint import looking, scratch
from casemate.operations.scans.endpoint.looking import endpoint_answers
from casemate.supply.scanners.endpoint import matrix
from casemate.supply.scanners.endpoint.answers import Answers
from casemate.supply.scanners.endpoint.doors import RULES
from casemate.supply.scanners.endpoint.matrix import Matrix
from casemate.supply.scanners.endpoint.protocol import Protocol
from casemate.supply.scanners.identity import weaknesses
from casemate.supply.scanners.interface import Place
from casemate.supply.scanners.running import Door, Doors

pytestmark = pytest.mark.slow
LONG = ["scan.endpoint.seconds=900"]
METHODS = ("GET",)
"""Enough to see a difference; `--full` takes all."""


def place(root):
    return Place(root, (), {}, make_folder(root.parent / f"work-{secrets.token_hex(4)}"))


@pytest.fixture(scope="module")
def methods(pytestconfig):
    return matrix.METHODS if pytestconfig.getoption("--full") else METHODS


@pytest.fixture(scope="module")
def patient(pytestconfig):
    """Whether requests are sent slowly too, which takes 40 seconds."""
    return pytestconfig.getoption("--full")


def test_a_clean_gateway_answers_everybody_as_policy_does(clinic, methods, patient, monkeypatch):
    monkeypatch.setattr(matrix, "METHODS", methods)
    project = casemate.open(clinic, LONG)
    keys = tree(keystore_folder(project.config.project.id))
    before = {table: _rows(project, table) for table in ("principal", "token", "session", "model")}
    entries = len(list(project.log.entries()))
    monkeypatch.setattr(scanners, "Matrix", lambda: Matrix(methods))
    monkeypatch.setattr(scanners, "Protocol", lambda: Protocol(patient=patient))
    found = project.scans.scan(["endpoint"])
    assert (found.found, found.unseen) == ([], [])
    assert {part.answer for part in found.scan.parts} == {"clean"}
    assert found.scan.parts[0].count > 2000
    assert tree(keystore_folder(project.config.project.id)) == keys
    assert {table: _rows(project, table) for table in before} == before
    new = {entry.action for entry in list(project.log.entries())[entries:]}
    assert new <= {"scan:run", "scan:done", "key:unwrap"}
    assert not list((project.state / "tmp").iterdir())


FOUND = {
    "a_door_without_authorisation": ("endpoint.authorisation-let-in", "gateway/metrics", ""),
    "a_role_with_too_much": ("endpoint.authorisation-let-in", "gateway/v2/models/{name}", ""),
    "old_tls": ("endpoint.protocol", "gateway", "TLS 1: "),
    "no_bound_on_bodies": ("endpoint.protocol", "gateway", "a body that inflates"),
    "errors_with_tracebacks": ("endpoint.error-detail", "gateway", ""),
    "no_security_headers": ("endpoint.headers", "gateway", "/"),
    "every_site_may_read": ("endpoint.cors", "gateway", ""),
    "a_server_that_says_its_version": ("endpoint.verbose-header", "gateway", ""),
    "tokens_in_urls": ("endpoint.token-in-url", "gateway", ""),
    "revoked_credentials": ("endpoint.authorisation-spoilt", "gateway", "service client (revoked)"),
}
"""Fault -> rule and place of the finding, and how its message begins."""


def test_each_planted_fault_of_a_gateway_is_found(clinic, methods, monkeypatch):
    monkeypatch.setattr(matrix, "METHODS", methods)
    looks = [Matrix(methods), Answers(), Protocol(patient=False)]
    program = [sys.executable, faulty_gateway.__file__, ",".join(faulty_gateway.FAULTS)]
    answers = endpoint_answers(casemate.open(clinic, LONG), place(clinic), looks, str, program)
    assert [one.unseen for one in answers] == [{}, {}, {}]
    found = [(one.rule, one.path, one.message) for one in weaknesses(answers)]
    missed = {
        fault
        for fault, (rule, path, begins) in FOUND.items()
        if not any(one[:2] == (rule, path) and one[2].startswith(begins) for one in found)
    }
    assert (missed, set(FOUND)) == (set(), set(faulty_gateway.FAULTS)), found


def _rows(project, table):
    with project.database.reading() as tx:
        return [tuple(row) for row in tx.exec_driver_sql(f"SELECT * FROM {table}").all()]


def test_without_a_model_nothing_was_looked_at(fresh):
    found = casemate.open(fresh).scans.scan(["endpoint"])
    assert found.found == []
    assert "no model that a gateway may serve" in found.unseen[0]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import sys; sys.exit(3)", "ended with 3"),
        ("print('garbage')", "printed something else"),
        ("import time; time.sleep(60)", "did not end"),
    ],
)
def test_a_copy_that_does_not_come_up_is_named(clinic, monkeypatch, code, why):
    monkeypatch.setattr(scratch, "STEP_SECONDS", 1.0)
    program = [sys.executable, "-c", code]
    answers = endpoint_answers(casemate.open(clinic), place(clinic), [Matrix()], str, program)
    assert [one.answer for one in answers] == ["could-not-look"]
    assert why in answers[0].unseen[""]


def test_a_door_that_nobody_wrote_a_rule_for_is_a_finding():
    odd = Door(name="debug", path="/debug", method="GET", action="gateway:read")
    other = Door(name="metrics", path="/metrics", method="GET", action="gateway:read")
    doors = Doors(doors=[odd, other], open=["/ping", "/metrics"])
    hits = list(matrix.unlisted(doors))
    assert [(hit.rule, hit.path) for hit in hits] == [
        ("endpoint.door-unknown", "gateway/debug"),
        ("endpoint.door-unknown", "gateway/metrics"),
        ("endpoint.door-unknown", "gateway/metrics"),
    ]
    assert len({hit.material for hit in hits}) == 3


def test_the_gateway_lists_exactly_the_doors_that_rules_are_written_for():
    from casemate.serve.listing import listing

    found = json.loads(listing())
    assert {one["path"] for one in found["doors"]} == set(RULES)
    assert (sys.executable, "-P") == looking.PYTHON
