"""People and workloads at the gateway: stepping up with a passkey, tokens of a cluster, sightings
and denials.
"""

import datetime
import json
import shutil

import pytest
import tomlkit
from tests.attacks.test_gateway import Caller, new_token, within_a_second
from tests.conftest import serving, wait_for
from tests.unit.authenticator import Authenticator
from tests.unit.controls.test_issuers import OTHER, RSA, Issuer, maker

import casemate
from casemate.controls.access.anomalies import STORM
from casemate.controls.access.identity.sessions import SESSIONS
from casemate.core.errors import AccessDenied

ORIGIN, PARTY = "https://localhost:8443", "localhost"


@pytest.fixture(scope="module")
def issuer():
    made = Issuer()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def running(finished, tmp_path_factory, issuer):
    root = tmp_path_factory.mktemp("identity") / "clinic"
    shutil.copytree(finished, root)
    document = tomlkit.parse((root / "casemate.toml").read_text())
    document["access"] = {
        "origin": ORIGIN,
        "workloads": {
            "cluster": {
                "issuer": issuer.url,
                "services": {"system:serviceaccount:ml:scorer": "scorer"},
            }
        },
    }
    (root / "casemate.toml").write_text(tomlkit.dumps(document))
    project = casemate.open(root)
    project.access.add_service("scorer", ["client"], ["wdbc"])
    with serving(root) as gateway:
        yield gateway, project


class Person:
    """Somebody with a session, at the gateway."""

    def __init__(self, running, name, roles=("auditor",)):
        self.gateway, self.project = running
        self.name = name
        self.project.access.add_user(name, list(roles))
        with self.project.database.transaction() as tx:
            self.keep(vars(self.project.point.sessions.begin(tx, name, "password")))

    def keep(self, pair):
        self.access, self.refresh = pair["access"], pair["refresh"]

    def __call__(self, method, path, body=None):
        status, answer, _ = Caller(self.gateway, self.access)(method, path, body)
        return status, json.loads(answer)


def test_a_person_registers_a_passkey_and_steps_up_with_it(running):
    ana, device = Person(running, "ana"), Authenticator(ORIGIN, PARTY)
    status, about = ana("GET", "/access/session")
    assert (status, about["principal"], about["second_factor"], about["second_factor_age"]) == (
        200,
        'User::"ana"',
        False,
        None,
    )
    _, options = ana("POST", "/access/passkey/options")
    status, made = ana("POST", "/access/passkey", {"passkey": device.create(options)})
    assert (status, len(made["recovery_codes"])) == (200, 10), made
    assert ana("POST", "/access/passkey/options")[0] == 403  # a second one needs the first one
    _, options = ana("POST", "/access/step-up/options")
    status, pair = ana("POST", "/access/step-up", {"passkey": device.get(options)})
    assert status == 200, pair
    before = ana.access
    ana.keep(pair)
    # the session is looked up anew
    assert Caller(ana.gateway, before)("GET", "/access/session")[0] in (401, 403)
    assert within_a_second(Caller(ana.gateway, before), 401, "/access/session")
    status, about = ana("GET", "/access/session")
    assert (about["second_factor"], about["second_factor_age"] < 30) == (True, True)
    assert ana("POST", "/access/passkey/options")[0] == 200
    told = [
        (entry.action, entry.outcome)
        for entry in ana.project.log.entries()
        if entry.principal == 'User::"ana"'
    ]
    assert ("factor:add", "done") in told
    assert ("access:step-up", "done") in told


def test_a_stolen_session_is_not_made_stronger_with_a_factor_of_the_thief(running):
    zoe, device = Person(running, "zoe"), Authenticator(ORIGIN, PARTY)
    point = zoe.project.point
    with zoe.project.database.transaction() as tx:
        point.anomalies._found(tx, 'User::"zoe"', "new-network", "first call from elsewhere")
    assert zoe("POST", "/access/passkey/options")[0] == 403
    yan = Person(running, "yan")
    with zoe.project.database.transaction() as tx:
        started = (zoe.project.clock.now() - datetime.timedelta(minutes=11)).isoformat()
        tx.execute(SESSIONS.update().where(SESSIONS.c.name == "yan").values(started=started))
    assert yan("POST", "/access/passkey/options")[0] == 403
    ana = Person(running, "ida")
    point.passkeys.register("ida", device.create(point.passkeys.registration("ida")))
    other = Authenticator(ORIGIN, PARTY)
    with pytest.raises(AccessDenied) as refused:
        point.passkeys.register("ida", other.create(point.passkeys.registration("ida")), first=True)
    assert "meanwhile" in refused.value.hint
    assert ana("GET", "/access/session")[0] == 200


def test_a_wrong_answer_steps_nobody_up_and_is_recorded(running):
    eva, device = Person(running, "eva"), Authenticator(ORIGIN, PARTY)
    _, options = eva("POST", "/access/passkey/options")
    assert eva("POST", "/access/passkey", {"passkey": device.create(options)})[0] == 200
    device.origin = "https://localhost.evil:8443"
    _, options = eva("POST", "/access/step-up/options")
    assert eva("POST", "/access/step-up", {"passkey": device.get(options)}) == (
        403,
        {"error": "not permitted"},
    )
    assert eva("POST", "/access/step-up", {"code": "123456"})[0] == 403
    denied = [
        entry
        for entry in eva.project.log.entries()
        if (entry.action, entry.outcome) == ("access:step-up", "denied")
    ]
    assert [entry.principal for entry in denied] == ['User::"eva"'] * 2


def test_a_session_is_renewed_and_ended_over_http(running):
    ben = Person(running, "ben")
    status, pair = ben("POST", "/access/session/renew", {"refresh": ben.refresh})
    assert status == 200
    ben.keep(pair)
    assert ben("POST", "/access/session/renew", {"refresh": "nonsense"})[0] == 403
    assert ben("POST", "/access/session/renew")[0] == 403
    assert ben("POST", "/access/session/end") == (200, {"ended": True})
    assert within_a_second(Caller(ben.gateway, ben.access), 401, "/access/session")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        "{",
        '{"x": 1}',
        '{"passkey": 7}',
        '{"passkey": {}, "code": "1"}',
        "[" * 5000,
        "\u00e4",
        "{}",
    ],
)
def test_malformed_bodies_are_explained_and_refused(running, body):
    dan = Person(running, f"dan-{abs(hash(body))}")
    for path in ("/access/step-up", "/access/passkey")[: 1 if "code" in body else 2]:
        status, answer, _ = Caller(dan.gateway, dan.access)("POST", path, body.encode())
        assert (status, "error" in json.loads(answer)) == (400, True), (path, answer)
    status, _, _ = Caller(dan.gateway, dan.access)("POST", "/access/step-up", b" " * 20_000)
    assert status == 413


def test_services_have_no_login_of_their_own(running):
    gateway, project = running
    service = Caller(gateway, new_token(project, "robot", "owner")[0])
    for method, path in (
        ("GET", "/access/session"),
        ("POST", "/access/passkey/options"),
        ("POST", "/access/session/end"),
    ):
        assert service(method, path, "{}")[0] == 403


def workload(issuer, key=RSA, **changed):
    now = int(datetime.datetime.now(datetime.UTC).timestamp())
    claims = {
        "iss": issuer.url,
        "sub": "system:serviceaccount:ml:scorer",
        "aud": ["casemate"],
        "iat": now,
        "exp": now + 600,
        **changed,
    }
    return maker.encode({"alg": "RS256", "kid": key.kid}, claims, key)


def test_a_workload_of_the_cluster_asks_as_its_service(running, issuer):
    gateway, project = running
    assert Caller(gateway, workload(issuer))("GET", "/v2/models/wdbc")[0] == 200
    assert Caller(gateway, workload(issuer))("GET", "/metrics")[0] == 403
    now = int(datetime.datetime.now(datetime.UTC).timestamp())
    stale, elsewhere = {"iat": now - 900, "exp": now - 300}, {"aud": "kubernetes"}
    for token in (
        workload(issuer, sub="system:serviceaccount:ml:other"),
        workload(issuer, **stale),
        workload(issuer, **elsewhere),
        workload(issuer, OTHER),
    ):
        assert Caller(gateway, token)("GET", "/v2/models/wdbc")[0] == 401
    issuer.offer(RSA, OTHER)  # rotation
    wait_for(
        lambda: Caller(gateway, workload(issuer, OTHER))("GET", "/v2/models/wdbc")[0] == 200, 15
    )
    project.access.remove_service("scorer")
    assert within_a_second(Caller(gateway, workload(issuer)), 401)


def test_many_denials_become_a_finding(running):
    max_, project = Person(running, "max"), running[1]
    for _ in range(STORM["denied"]):
        assert max_("GET", "/v2")[0] in (200, 403)
        max_("POST", "/v2/models/wdbc/infer", {})
    wait_for(
        lambda: (
            [
                found.kind
                for found in project.point.anomalies.list()
                if found.principal == 'User::"max"'
            ]
            == ["denied-storm"]
        ),
        5,
    )
    assert within_a_second(Caller(max_.gateway, max_.access), 403)
    assert max_("GET", "/access/session")[0] == 200
