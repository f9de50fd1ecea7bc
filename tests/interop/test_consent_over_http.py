"""Consent over HTTP: a real gateway, people with sessions of their own, identifiers in bodies only."""

import json

from tests.attacks.test_gateway import Caller, new_token
from tests.conftest import serving
from tests.unit.operations.test_operations import PASSWORD, secret_of

import casemate

WHO = "patient-4711"


def body(**more) -> bytes:
    return json.dumps(more).encode()


def record(**more) -> dict:
    said = {"subject": WHO, "purpose": "research", "time": "2026-01-01T00:00:00Z"}
    return said | {"status": "given", "text": "v1", "source": "app"} | more


def test_consent_is_told_shown_and_taken_back_by_those_who_may(clinic):
    project = casemate.open(clinic)
    project.access.add_user("pia", ["privacy-officer"], PASSWORD)
    project.access.add_user("sam", ["scientist"], PASSWORD)
    client, _ = new_token(project, "app", "client")
    told = []
    with serving(clinic) as running:
        pia, sam = (Caller(running, secret_of(project, name)) for name in ("pia", "sam"))
        for other in (sam, Caller(running, client)):
            for path in ("/privacy/consent", "/privacy/consent/withdraw", "/privacy/consent/show"):
                assert other("POST", path, body(subject=WHO))[0] == 403

        def ask(path, said, status=200):
            code, answer, _ = pia("POST", f"/privacy/consent{path}", said)
            told.append(answer.decode())
            assert code == status, answer
            return json.loads(answer)

        assert ask("", body(records=[record()]))["new"] == 1
        assert ask("", body(records=[record()]))["new"] == 0
        shown = ask("/show", body(subject=WHO))
        assert shown["covered"] == {"research": True}
        gone = ask("/withdraw", body(subject=WHO, purpose="research", source="phone"))
        assert gone["covered"] == {"research": False}
        wrong = ask("", body(records=[record(), record(time="soon"), record(status="x")]), 400)
        assert "line 2" in wrong["error"]
        assert "line 3" in wrong["error"]
        ask("", body(records=[{"subject": WHO}]), 400)
        ask("/withdraw", body(subject=WHO, at="2999-01-01T00:00:00Z"), 400)
        # whatever a client mistook for something else, an identifier is not told back
        for path, fields in (
            ("", "records"),
            ("/show", "subject"),
            ("/withdraw", "subject, purpose, at, source"),
        ):
            refused = ask(path, body(**{WHO: "withdrawn"}), 400)
            assert f"its fields are {fields}" in refused["error"]
        ask("", body(records=[{WHO: "withdrawn"}]), 400)
        ask("/withdraw", body(subject="a", at=WHO), 400)
        ask("/withdraw", body(subject=" "), 400)
        early = "0001-01-01T00:00:00+01:00"
        assert "line 1" in ask("", body(records=[record(time=early)]), 400)["error"]
        ask("/withdraw", body(subject="a", at=early), 400)
        assert pia("GET", "/privacy/consent", None)[0] == 405
    assert not any(WHO in one for one in told)
    entries = list(project.log.entries())
    assert not any(WHO in str(one) for one in entries)
    done = [one for one in entries if one.action in ("consent:imported", "consent:withdrawn")]
    assert {one.principal for one in done} == {'User::"pia"'}
