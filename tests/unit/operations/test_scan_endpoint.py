"""A scan of a gateway that runs: a scratch copy, everybody at every door, and nothing of the project
itself changed.
"""

import dataclasses
import json
import os
import resource
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit
from msgspec import structs
from tests.attacks.test_gateway import new_token
from tests.conftest import serving, tree, wait_for
from tests.unit.operations import faulty_gateway

import casemate
from casemate.core.errors import ConfigError
from casemate.core.files import make_folder
from casemate.core.home import keystore_folder
from casemate.operations.scans import scanners
from casemate.operations.scans.endpoint import looking, scratch
from casemate.operations.scans.endpoint.looking import endpoint_answers
from casemate.operations.scans.endpoint.remote import Remote
from casemate.operations.scans.endpoint.scratch import Copy
from casemate.supply.scanners.endpoint import abuse, calls, matrix
from casemate.supply.scanners.endpoint.answers import Answers
from casemate.supply.scanners.endpoint.calls import Grpc
from casemate.supply.scanners.endpoint.certificates import Certificates
from casemate.supply.scanners.endpoint.doors import RULES
from casemate.supply.scanners.endpoint.matrix import Matrix
from casemate.supply.scanners.endpoint.protocol import Protocol
from casemate.supply.scanners.identity import weaknesses
from casemate.supply.scanners.interface import CouldNotLook, Place, looked
from casemate.supply.scanners.running import Door, Doors, Identity, Known, Meter, Reply, Target

SLOW = pytest.mark.slow
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


@SLOW
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
    ended = dict(one.split(": ", 1) for one in found.scan.parts[-1].told)
    assert {name: told.split(",")[0] for name, told in ended.items()} == {
        **dict.fromkeys(("extraction", "probing", "evasion"), "detected"),
        "membership": "weak",
    }
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
    "nobody_hears_of_probing": ("endpoint.model-extraction", "gateway", "extraction"),
    "revoked_credentials": ("endpoint.authorisation-spoilt", "gateway", "service client (revoked)"),
}
"""Fault -> rule and place of the finding, and how its message begins."""


@pytest.mark.long
def test_each_planted_fault_of_a_gateway_is_found(clinic, methods, monkeypatch):
    monkeypatch.setattr(matrix, "METHODS", methods)
    monkeypatch.setattr(abuse, "HEED_SECONDS", 1.5)
    looks = [Matrix(methods), Answers(), Protocol(patient=False), abuse.ModelAbuse()]
    program = [sys.executable, faulty_gateway.__file__, ",".join(faulty_gateway.FAULTS)]
    answers = endpoint_answers(
        casemate.open(clinic, LONG), place(clinic), looks, str, program=program
    )
    assert [one.unseen for one in answers] == [{}] * 4
    found = [(one.rule, one.path, one.message) for one in weaknesses(answers)]
    missed = {
        fault
        for fault, (rule, path, begins) in FOUND.items()
        if not any(one[:2] == (rule, path) and one[2].startswith(begins) for one in found)
    }
    assert (missed, set(FOUND)) == (set(), set(faulty_gateway.FAULTS)), found


@pytest.fixture
def demanding(clinic):
    """A project whose gateway demands certificates, believes an issuer, and answers over gRPC."""
    path = clinic / "casemate.toml"
    document = tomlkit.parse(path.read_text())
    document["serve"] |= {"client_certificates": "require", "grpc_port": 8444}
    table = {"issuer": "https://ci.example.org", "services": {"repo:ward": "ward"}}
    document.setdefault("access", {})["workloads"] = {"ci": table}
    path.write_text(tomlkit.dumps(document))
    return clinic


@SLOW
def test_a_clean_gateway_knows_certificates_workloads_and_calls(demanding, methods):
    project = casemate.open(demanding, LONG)
    looks = [Matrix(methods), Answers(), Certificates(), Grpc()]
    answers = endpoint_answers(project, place(demanding), looks, str)
    assert [(one.hits, one.unseen) for one in answers] == [([], {})] * 4
    assert answers[2].count == 2 * 5, "over HTTP and gRPC"
    assert answers[3].count > 17 * 30, "every group, each call"
    named = [one.id for one in scanners.scanners(project, "endpoint")]
    assert named[3:5] == [Certificates.id, Grpc.id]


OF_CERTIFICATES = {
    "revocations_not_looked_at": ("client-certificate", "", "a revoked client certificate"),
    "certificates_asked_for_and_not_demanded": ("client-certificate", "", "no client certificate"),
    "an_authority_too_many": ("client-certificate", "", "a client certificate of another"),
    "certificates_that_are_over": ("client-certificate", "", "a client certificate that is over"),
    "certificates_for_servers_and_clients": ("client-certificate", "", "a server's certificate"),
    "a_certificate_above_a_token": ("authorisation-stranger", "", "nonsense with a client's"),
}
OF_ISSUERS_AND_CALLS = {
    "tokens_bound_to_nothing": ("authorisation-spoilt", "", "service owner with a client's"),
    "sessions_bound_to_nothing": ("authorisation-spoilt", "", "user owner with a client's"),
    "every_certificate_is_a_service": ("authorisation-stranger", "", "certificate of a service"),
    "workloads_for_any_audience": ("authorisation-spoilt", "", "workload of ci (elsewhere)"),
    "workloads_that_are_over": ("authorisation-spoilt", "", "workload of ci (expired)"),
    "workloads_signed_by_nobody": ("authorisation-stranger", "", "workload signed by nobody"),
    "refusals_that_calls_lose": (
        "authorisation-let-in",
        "/grpc/v2/models/{name}/ready",
        "over gRPC: ",
    ),
    "a_call_that_nobody_lists": ("door-unknown", "/grpc", "over gRPC /inference"),
}
"""Fault -> rule and place of the finding, and how its message begins."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("faults", "expected"),
    [
        (faulty_gateway.OF_CERTIFICATES, OF_CERTIFICATES),
        (faulty_gateway.OF_ISSUERS_AND_CALLS, OF_ISSUERS_AND_CALLS),
    ],
)
def test_each_planted_fault_of_certificates_workloads_and_calls_is_found(
    demanding, methods, faults, expected
):
    looks = [Matrix(methods), Certificates(), Grpc()]
    program = [sys.executable, faulty_gateway.__file__, ",".join(faults)]
    answers = endpoint_answers(
        casemate.open(demanding, LONG), place(demanding), looks, str, program=program
    )
    assert [one.unseen for one in answers] == [{}] * 3
    found = [(one.rule, one.path, one.message) for one in weaknesses(answers)]
    missed = {
        fault
        for fault, (rule, path, begins) in expected.items()
        if not any(
            one[:2] == (f"endpoint.{rule}", f"gateway{path}") and one[2].startswith(begins)
            for one in found
        )
    }
    assert (missed, set(expected)) == (set(), set(faults)), found


def test_the_gateway_has_exactly_the_calls_that_are_asked():
    from casemate.serve import grpc
    from casemate.serve.protocols import oip_grpc, told_grpc

    assert (grpc._SERVER_CALLS, grpc._MODEL_CALLS) == (calls.OF_SERVER, calls.OF_MODEL)
    assert f"/{oip_grpc.SERVICE}/" == calls.SERVICE
    assert f"/{told_grpc.SERVICE}/{told_grpc.TELL}" == calls.TELL
    known = Known(identities=[], served="wdbc", reference="wdbc@3", most_body=0)
    for one in calls.every(known):
        name = one.path.rpartition("/")[2]
        if name == told_grpc.TELL:
            assert told_grpc.Told(one.message).path() == one.probe.path
        elif name in calls.OF_MODEL:
            asked = oip_grpc.parsed(oip_grpc.message(f"{name}Request"), one.message)
            assert grpc._located({}, name, asked) == one.probe.path


@pytest.mark.parametrize("scanner", [Certificates(), Grpc()])
def test_without_a_copy_or_an_answer_nothing_is_said_of_certificates_and_calls(scanner, tmp_path):
    known = Known(identities=[identity()], served="wdbc", reference="wdbc@1", most_body=0)
    target = Target(
        url="https://127.0.0.1:1",
        ca=None,
        doors=Doors(doors=[], open=[]),
        known=known,
        meter=Meter(seconds=60, requests=100, rate=1e6),
        scratch=False,
    )
    theirs = scanner.look(dataclasses.replace(place(tmp_path / "p"), target=target))
    assert (theirs.count, theirs.hits, len(theirs.notes)) == (0, [], 1)
    nobody = dataclasses.replace(
        place(tmp_path / "p"), target=dataclasses.replace(target, scratch=True)
    )
    assert looked(scanner, nobody).answer == "could-not-look"


def remote(**changed):
    given = {"url": "https://127.0.0.1:1", "consent": "a drill", "callers": CALLERS}
    return Remote(**{**given, **changed})


CALLERS = {"Service:ward": "env:SCAN_TOKEN"}


@SLOW
@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"consent": " "}, "nobody consents"),
        ({"url": "http://gateway.example"}, "no https"),
        ({"url": "ftp://127.0.0.1"}, "no https"),
        ({"url": "https://[::1"}, "no https"),
        ({"url": "https://127.0.0.1:99999"}, "no https"),
        ({"url": "https://a:b@127.0.0.1"}, "no more than a host"),
        ({"callers": {}}, "no credentials"),
        ({"callers": {"ward": "env:X"}}, "is nobody"),
        ({"callers": {"Service": "env:X"}}, "is nobody"),
    ],
)
def test_a_gateway_that_others_use_is_asked_by_consent_alone(clinic, changed, why):
    project = casemate.open(clinic)
    with pytest.raises(ConfigError, match=why):
        project.scans.scan(["endpoint"], remote=remote(**changed))
    with pytest.raises(ConfigError, match="nothing to do with"):
        project.scans.scan(["code"], remote=remote())
    assert "scan:target" not in {entry.action for entry in project.log.entries()}


@SLOW
def test_one_that_is_not_there_was_not_looked_at_and_the_consent_is_on_record(clinic, monkeypatch):
    project = casemate.open(clinic)
    monkeypatch.setenv("SCAN_TOKEN", new_token(project, "ward")[0])
    found = project.scans.scan(["endpoint"], remote=remote())
    assert len(found.unseen) == 3
    assert all("nobody answers" in one for one in found.unseen)
    assert not any("()" in one for one in found.unseen), "nobody knows what to do: nothing is said"
    (told,) = [entry for entry in project.log.entries() if entry.action == "scan:target"]
    assert (told.outcome, told.detail["consent"], told.detail["url"]) == (
        "allowed",
        "a drill",
        "https://127.0.0.1:1",
    )
    assert project.findings_kept.newest() == {}, "no gate passes by it"


@pytest.mark.long
def test_one_that_others_use_is_clean_where_it_is(clinic, monkeypatch):
    project = casemate.open(clinic)
    monkeypatch.setenv("SCAN_TOKEN", new_token(project, "ward")[0])
    with serving(clinic) as running:
        found = project.scans.scan(["endpoint"], remote=remote(url=running.url))
    assert (found.found, found.unseen) == ([], [])
    assert {part.scanner for part in found.scan.parts} == {
        "casemate-authorisation-target",
        "casemate-answers-target",
        "casemate-protocol-target",
        "casemate-model-abuse-target",
    }


@SLOW
def test_a_copy_is_heard_also_by_a_process_with_more_than_a_thousand_open_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
    try:
        code = "print('serves at http://127.0.0.1:9')"
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            said = Copy.__new__(Copy)._announced(process, 30)
        assert said == ("http://127.0.0.1:9", None, "")
    finally:
        for one in held:
            os.close(one)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_copy_outlives_its_scan():
    code = (
        "import subprocess, time; from casemate.core.sandbox.mortal import mortal;"
        "one = subprocess.Popen(mortal(['/bin/sleep', '60']));"
        "print(one.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        child = int(parent.stdout.readline())
        comm = Path(f"/proc/{child}/comm")
        wait_for(lambda: comm.read_text().strip() == "sleep")
        parent.kill()
    wait_for(lambda: not comm.exists() or comm.read_text().strip() != "sleep")


def _rows(project, table):
    with project.database.reading() as tx:
        return [tuple(row) for row in tx.exec_driver_sql(f"SELECT * FROM {table}").all()]


@SLOW
def test_without_a_model_nothing_was_looked_at(fresh):
    found = casemate.open(fresh).scans.scan(["endpoint"])
    assert found.found == []
    assert "no model that a gateway may serve" in found.unseen[0]


@SLOW
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
    answers = endpoint_answers(
        casemate.open(clinic), place(clinic), [Matrix()], str, program=program
    )
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


def identity(state="good", kind="Service", allowed=()):
    uid = "" if state in ("none", "unknown", "nonsense") else f'{kind}::"x"'
    return Identity(
        group="x", uid=uid, kind=kind, roles=[], state=state, token="t", allowed=list(allowed)
    )


MAY = ["metrics:read project", "model:infer-label served", "access:self project"]


@pytest.mark.parametrize(
    ("door", "method", "who", "status", "difference"),
    [
        ("/metrics", "GET", identity(allowed=MAY), 200, ""),
        ("/metrics", "GET", identity(allowed=MAY), 403, "kept-out"),
        ("/metrics", "GET", identity(allowed=MAY), 500, "error"),
        ("/metrics", "POST", identity(allowed=MAY), 405, ""),
        ("/metrics", "POST", identity(allowed=MAY), 200, "let-in"),
        ("/metrics", "GET", identity(), 403, ""),
        ("/metrics", "GET", identity(), 200, "let-in"),
        ("/metrics", "DELETE", identity(), 405, "let-in"),
        ("/metrics", "GET", identity("revoked"), 401, ""),
        ("/metrics", "GET", identity("revoked"), 200, "spoilt"),
        ("/metrics", "GET", identity("expired"), 403, "spoilt"),
        ("/metrics", "GET", identity("none"), 404, "stranger"),
        ("/metrics", "GET", identity("unknown"), 500, "error"),
        ("/ping", "GET", identity("none"), 200, ""),
        ("/ping", "GET", identity("revoked"), 503, ""),
        ("/ping", "POST", identity("none"), 200, "stranger"),
        ("/invocations", "POST", identity(allowed=MAY), 400, ""),
        ("/invocations", "POST", identity(allowed=MAY), 200, "let-in"),
        ("/access/session", "GET", identity(allowed=MAY), 403, ""),
        ("/access/session", "GET", identity(allowed=MAY), 200, "let-in"),
        ("/access/session", "GET", identity(kind="User", allowed=MAY), 200, ""),
    ],
)
def test_an_answer_is_held_against_what_policy_says(door, method, who, status, difference):
    probe = matrix.Probe(door=door, path=door, method=method, resource="project")
    reply = Reply(status=status, headers={}, body=b"")
    assert matrix.judged(probe, who, reply)[1] == difference


def test_a_finding_is_the_same_while_the_same_can_do_it_and_another_when_others_can():
    probe = matrix.Probe(door="/metrics", path="/metrics", method="GET", resource="project")

    def hits(*groups):
        answers = [
            matrix.Answered(probe, structs.replace(identity(), group=group), 200, "403", "let-in")
            for group in groups
        ]
        return [hit.material for hit in matrix.differences(answers)]

    assert hits("a", "b") == hits("b", "a", "b")
    assert hits("a") != hits("a", "b")
    assert len(hits("a", "b")) == 1


def test_a_scan_stops_at_its_requests_and_at_its_time():
    meter = Meter(seconds=60, requests=2, rate=1e6)
    meter.take(2)
    with pytest.raises(CouldNotLook, match="2 requests are used up"):
        meter.take()
    with pytest.raises(CouldNotLook, match="are over"):
        Meter(seconds=1, requests=9, rate=1e6, began=-1e9).take()
