"""A login through an OpenID provider, against a simulator of one: what it is asked, what of its answers
is believed, who somebody becomes, and the address on this machine that the browser comes back to.
"""

import base64
import datetime
import hashlib
import http.client
import json
import threading
import urllib.error
import urllib.request
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from tests.unit.conftest import refused
from tests.unit.controls.test_access import change
from tests.unit.controls.test_issuers import (
    NOW,
    OTHER,
    RSA,
    Time,
    issuer,
    of,
    trusted,
)
from tests.unit.controls.test_point import (
    derived,
    entries,
    home,
    made,
    newest,
)

from casemate.config import ProviderTable, WorkloadTable
from casemate.controls.access.identity import jwt
from casemate.controls.access.identity.issuers import MAX_DOCUMENT, Workloads, fetch
from casemate.controls.access.identity.jwt import Claims
from casemate.controls.access.identity.loopback import MAX_QUERY, Loopback
from casemate.controls.access.identity.oidc import FRESH, LONGEST_DEVICE, Device, Provider
from casemate.controls.access.logins import Logins

__all__ = ["derived", "home", "issuer", "made", "trusted"]  # fixtures

REDIRECT = "http://127.0.0.1:41234/callback"


@pytest.fixture
def provider(issuer, tmp_path):
    """Makes the provider of a table; its simulator offers everything."""

    def build(offered=None, **table):
        issuer.configure(
            **{
                "authorization_endpoint": f"{issuer.url}/auth",
                "token_endpoint": f"{issuer.url}/token",
                "device_authorization_endpoint": f"{issuer.url}/device",
                **(offered or {}),
            }
        )
        converted = msgspec.convert(
            {"issuer": issuer.url, "client": "casemate", **table}, ProviderTable
        )
        return Provider("local", converted, tmp_path, Time(), lambda _: "s e:cret", 5.0)

    return build


def answers(issuer, **token):
    """The token endpoint gives this."""
    issuer.documents["/token"] = (200, json.dumps(token).encode())


def asked(begun):
    return dict(parse_qsl(urlsplit(begun.url).query))


# By authorization code


def test_a_login_asks_for_a_code_that_is_of_use_to_nobody_else(provider):
    first, second = (provider().begin(REDIRECT) for _ in range(2))
    told = asked(first)
    digest = hashlib.sha256(first.verifier.encode()).digest()
    assert told["code_challenge"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert (told["response_type"], told["redirect_uri"]) == ("code", REDIRECT)
    assert (told["state"], told["nonce"]) == (first.state, first.nonce)
    assert first.verifier not in first.url
    secrets = [(one.state, one.nonce, one.verifier) for one in (first, second)]
    assert len({text for one in secrets for text in one}) == 6
    assert "max_age" not in told


def test_where_second_factors_count_a_recent_login_is_asked_for(provider, issuer):
    local = provider(
        {"authorization_endpoint": f"{issuer.url}/auth?tenant=7"}, factor={"amr": ["mfa"]}
    )
    begun = local.begin(REDIRECT)
    assert asked(begun)["max_age"] == str(FRESH)
    assert asked(begun)["tenant"] == "7"


def test_who_comes_back_with_a_token_for_this_login_is_believed(provider, issuer):
    local = provider()
    begun = local.begin(REDIRECT)
    answers(issuer, id_token=of(issuer, nonce=begun.nonce))
    claims = local.finish(begun, {"state": begun.state, "code": "c"})
    assert (claims.issuer, claims.subject) == (issuer.url, "sa:ml:scorer")
    ((body, _),) = issuer.posted
    assert body == {
        "grant_type": "authorization_code",
        "code": "c",
        "redirect_uri": REDIRECT,
        "code_verifier": begun.verifier,
        "client_id": "casemate",
    }


def test_a_token_of_another_login_or_another_key_is_refused(provider, issuer):
    local = provider()
    begun = local.begin(REDIRECT)
    for token in (
        of(issuer, nonce="another"),
        of(issuer),
        of(issuer, OTHER, nonce=begun.nonce),
        of(issuer, nonce=begun.nonce, aud="somebody else"),
    ):
        answers(issuer, id_token=token)
        with refused("CM-DENIED"):
            local.finish(begun, {"state": begun.state, "code": "c"})


@pytest.mark.parametrize(
    ("supported", "iss", "said"),
    [
        (False, "https://evil.example", "comes from another provider"),
        (True, "https://evil.example", "comes from another provider"),
        (True, None, "comes from another provider"),
        (True, "", "comes from another provider"),
        (False, None, "refused the login"),
        (True, "own", "refused the login"),
    ],
)
def test_an_answer_of_another_provider_is_refused(provider, issuer, supported, iss, said):
    local = provider({"authorization_response_iss_parameter_supported": supported})
    begun = local.begin(REDIRECT)
    answer = {"state": begun.state}
    if iss is not None:
        answer["iss"] = issuer.url if iss == "own" else iss
    with refused("CM-DENIED", said):
        local.finish(begun, answer)
    assert issuer.posted == [], "no code was shown to anybody"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"error": "access_denied"}, "(access_denied)"),
        ({"error": "access_denied", "code": "c"}, "(access_denied)"),
        ({"code": ""}, "(no reason given)"),
    ],
)
def test_a_refusal_of_the_provider_is_one(provider, issuer, answer, said):
    local = provider()
    begun = local.begin(REDIRECT)
    with refused("CM-DENIED", said):
        local.finish(begun, {"state": begun.state, **answer})
    assert issuer.posted == []


def test_a_token_endpoint_without_a_token_refuses_the_login(provider, issuer):
    local = provider()
    begun = local.begin(REDIRECT)
    answers(issuer, error="invalid_grant")
    with refused("CM-DENIED", "(invalid_grant)"):
        local.finish(begun, {"state": begun.state, "code": "c"})


@pytest.mark.parametrize(
    ("methods", "basic"),
    [(["client_secret_basic", "client_secret_post"], True), (["client_secret_post"], False)],
)
def test_the_clients_secret_is_shown_as_the_provider_wants_it(provider, issuer, methods, basic):
    local = provider({"token_endpoint_auth_methods_supported": methods}, secret="env:X")
    begun = local.begin(REDIRECT)
    answers(issuer, error="invalid_grant")
    with refused("CM-DENIED"):
        local.finish(begun, {"state": begun.state, "code": "c"})
    ((body, headers),) = issuer.posted
    pair = base64.b64encode(b"casemate:s%20e%3Acret").decode()
    assert headers.get("Authorization") == (f"Basic {pair}" if basic else None)
    assert body.get("client_secret") == (None if basic else "s e:cret")


@pytest.mark.parametrize("said", [None, "other", ["other"], 7, {"tenant": "own"}])
def test_an_account_that_is_not_as_required_is_refused(provider, issuer, said):
    local = provider(require={"tid": ["own", "sister"]})
    begun = local.begin(REDIRECT)
    answers(issuer, id_token=of(issuer, nonce=begun.nonce, tid=said))
    with refused("CM-DENIED", "does not say of this account that tid is as required"):
        local.finish(begun, {"state": begun.state, "code": "c"})
    for good in ("own", ["other", "sister"]):
        answers(issuer, id_token=of(issuer, nonce=begun.nonce, tid=good))
        assert local.finish(begun, {"state": begun.state, "code": "c"}).said["tid"] == good


# By a code on another device


def test_a_login_by_device_code_waits_for_the_person(provider, issuer):
    local = provider()
    issuer.documents["/device"] = (
        200,
        (
            b'{"device_code":"d","user_code":"AB-CD","verification_uri":"https://x","expires_in":60,'
            b'"interval":0}'
        ),
    )
    device = local.begin_device()
    assert (device.user_code, device.expires_in) == ("AB-CD", 60)
    waited = []

    def pause(seconds):
        waited.append(seconds)
        if len(waited) == 1:
            answers(issuer, error="authorization_pending")
        elif len(waited) == 2:
            answers(issuer, error="slow_down")
        else:
            answers(issuer, id_token=of(issuer))

    assert local.poll(device, pause).subject == "sa:ml:scorer"
    assert waited == [1.0, 1.0, 6.0], "never without a pause, and slower when told"
    assert issuer.posted[-1][0]["device_code"] == "d"


def test_a_device_code_that_was_refused_or_never_typed_ends(provider, issuer):
    local, pauses = provider(), []
    device = Device("d", "AB-CD", "https://x", 12.0)
    answers(issuer, error="access_denied")
    with refused("CM-DENIED", "(access_denied)"):
        local.poll(device, pauses.append)
    answers(issuer, error="authorization_pending")
    with refused("CM-DENIED", "nobody typed the code in time"):
        local.poll(device, pauses.append)
    assert pauses == [5.0] * 4
    pauses.clear()
    forever = Device("d", "AB-CD", "https://x", 1e9, interval=300.0)
    with refused("CM-DENIED", "in time"):
        local.poll(forever, pauses.append)
    assert sum(pauses) == LONGEST_DEVICE


@pytest.mark.parametrize("body", [b"", b"[]", b'{"device_code":"d"}', b"[" * 5000])
def test_a_device_endpoint_that_answers_nonsense_is_a_fault_of_the_provider(provider, issuer, body):
    issuer.documents["/device"] = (400, body)
    with refused("CM-BACKEND", "answered 400 to a login by device code"):
        provider().begin_device()


# What is taken of a token


def claims(**said):
    return Claims("https://i.example", "7", NOW, said)


def test_an_account_is_told_apart_by_every_claim_that_was_named(provider):
    local = provider(account=["tid", "oid"])
    assert local.account(claims(tid="a/b", oid="c d")) == "https://i.example a%2Fb/c%20d"
    for said in ({"tid": "a"}, {"tid": "a", "oid": ["b", "c"]}, {"tid": "", "oid": "b"}, {}):
        with refused("CM-DENIED", "does not send the claims tid, oid"):
            local.account(claims(**said))


@pytest.mark.parametrize(
    "said", [{}, {"preferred_username": 7}, {"preferred_username": ["a", "b"]}]
)
def test_a_person_without_one_name_gets_none(provider, said):
    assert provider().person(claims(preferred_username=["ola"])) == "ola"
    with refused("CM-DENIED", "does not send the claim preferred_username"):
        provider().person(claims(**said))


def test_roles_are_those_of_the_groups_that_the_configuration_names(provider):
    local = provider(
        roles_from="groups", roles={"team": ["scientist", "monitor"], "boss": ["approver"]}
    )
    assert local.roles(claims(groups=["team", "boss", "owner"])) == [
        "approver",
        "monitor",
        "scientist",
    ]
    assert local.roles(claims(groups="boss")) == ["approver"]
    assert local.roles(claims(groups=["owner"])) == []
    assert local.roles(claims()) == []
    assert provider().roles(claims(groups=["team"])) is None


@pytest.mark.parametrize("said", [{"_claim_names": {"groups": "src1"}}, {"hasgroups": True}])
def test_groups_that_were_left_out_are_no_groups_and_no_roles(provider, said):
    local = provider(roles_from="groups", roles={"team": ["scientist"]})
    with refused("CM-DENIED", "is in more groups than the provider local sends"):
        local.roles(claims(**said))
    assert local.roles(claims(groups=["team"], **said)) == ["scientist"]
    assert local.roles(claims(_claim_names=["groups"])) == []


@pytest.mark.parametrize(
    ("said", "when"),
    [
        ({"amr": ["pwd", "mfa"], "auth_time": NOW.timestamp() - 60}, -60),
        ({"amr": "mfa", "auth_time": int(NOW.timestamp())}, 0),
        ({"amr": ["mfa"], "auth_time": NOW.timestamp() + 3600}, 0),
        ({"amr": ["pwd"], "auth_time": NOW.timestamp()}, None),
        ({"auth_time": NOW.timestamp()}, None),
        ({"amr": ["mfa"]}, None),
        ({"amr": ["mfa"], "auth_time": True}, None),
        ({"amr": ["mfa"], "auth_time": "1"}, None),
        ({"amr": ["mfa"], "auth_time": 1e300}, None),
        ({"amr": ["mfa"], "auth_time": float("nan")}, None),
    ],
)
def test_a_second_factor_counts_if_the_provider_says_which_and_when(provider, said, when):
    found = provider(factor={"amr": ["mfa", "hwk"]}).factor_used(claims(**said))
    assert found == (None if when is None else NOW + datetime.timedelta(seconds=when))
    assert provider().factor_used(claims(**said)) is None


# Who somebody becomes


def through(made, local, **said):
    point = made()
    return point, Logins(point).through(local, lambda: claims(**said))


def test_a_person_who_comes_for_the_first_time_gets_name_account_and_roles(made, provider):
    local = provider(register=True, roles_from="g", roles={"t": ["scientist"]})
    point, session = through(made, local, sub="7", preferred_username="ola", g="t")
    assert (session.principal.name, session.method) == ("ola", "local")
    assert session.principal.roles == ("scientist",)
    assert point.directory.of("https://i.example 7").name == "ola"
    assert entries(point)[-2:] == [
        ('User::"ola"', "user:add", "done"),
        ('User::"ola"', "access:login", "done"),
    ]
    point, session = through(made, local, sub="7", preferred_username="renamed", g=[])
    assert (session.principal.name, session.principal.roles) == ("ola", ())
    assert entries(point)[-2] == ('User::"ola"', "role:grant", "done")
    count = len(entries(point))
    point, session = through(made, local, sub="7", preferred_username="renamed", g=[])
    assert len(entries(point)) == count + 1, "nothing of the roles changed"


@pytest.mark.parametrize(
    ("table", "said", "why"),
    [
        ({}, {"sub": "7", "preferred_username": "ola"}, "nobody here has this account"),
        (
            {"register": True, "roles_from": "g", "roles": {"t": ["scientist"]}},
            {"sub": "7", "preferred_username": "ola", "g": "other"},
            "or it has no role",
        ),
        ({"register": True}, {"sub": "7", "preferred_username": "ben"}, "calls this person 'ben'"),
        ({"register": True}, {"sub": "7", "preferred_username": "a b"}, "calls this person 'a b'"),
        ({"register": True}, {"sub": "7"}, "does not send the claim"),
        ({"register": True}, {"preferred_username": "ola"}, "does not send the claims sub"),
    ],
)
def test_nobody_becomes_somebody_whom_the_owner_did_not_let_in(made, provider, table, said, why):
    point = made()
    before = point.directory.rows()
    with refused("CM-DENIED", why):
        through(made, provider(**table), **said)
    assert point.directory.rows() == before
    assert newest(point) == ('Provider::"local"', "access:login", "denied")
    assert point.session_file.read() is None


def test_a_person_who_was_disabled_does_not_come_in_again_under_another_name(made, provider):
    point = made()
    change(point.directory, point.directory.add, "ola", ["auditor"], "https://i.example 7")
    change(point.directory, point.directory.disable, "ola")
    before = point.directory.rows()
    with refused("CM-DENIED", "the user of this account is disabled"):
        through(made, provider(register=True), sub="7", preferred_username="new")
    assert point.directory.rows() == before


def test_a_person_who_is_disabled_during_the_login_gets_no_session(made, provider):
    point = made()
    change(point.directory, point.directory.add, "ola", ["auditor"], "https://i.example 7")
    find = point.directory.find

    def late(kind, name):
        if find(kind, name) is not None:
            change(point.directory, point.directory.disable, name)
        return find(kind, name)

    point.directory.find = late
    with refused("CM-DENIED", "the user 'ola' is disabled"):
        Logins(point).through(provider(), lambda: claims(sub="7"))
    assert point.session_file.read() is None


def test_a_provider_does_not_take_the_last_owner_from_the_project(made, provider):
    point = made()
    with point.store.transaction() as tx:
        point.directory.add(tx, "ola", ["owner"], "https://i.example 7")
        point.directory.withdraw(tx, point.identify().principal.name, "owner")
    local = provider(roles_from="g", roles={"t": ["scientist"]})
    with refused("CM-REFUSED", "is the only owner, and the provider does not say so"):
        through(made, local, sub="7", g="t")
    assert point.directory.find("User", "ola").roles == ("owner",)


# Where the browser comes back to


def come_back(address, query):
    try:
        with urllib.request.urlopen(f"{address}{query}", timeout=5) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def test_the_browser_comes_back_once_with_the_answer_to_this_login():
    found, told = [], []
    with Loopback(20.0) as loopback:
        waiting = threading.Thread(
            target=lambda: found.append(loopback.wait(lambda answer: answer.get("state") == "s"))
        )
        waiting.start()
        for query in (
            "",
            "?state=other&code=x",
            "?state=s&state=s&code=x",
            "?state=other&" + "a" * MAX_QUERY + "&state=s",
        ):
            told.append(come_back(loopback.address, query)[0])
        told.append(come_back(loopback.address.replace("/callback", "/other"), "?state=s")[0])
        status, headers, page = come_back(loopback.address, "?state=s&code=x%2By")
        waiting.join(20)
    assert told == [400] * 5
    assert (status, found) == (200, [{"state": "s", "code": "x+y"}])
    assert b"x+y" not in page
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_whoever_sends_anything_but_a_get_is_not_heard():
    ended = []

    def wait():
        with refused("CM-DENIED", "nobody came back"):
            loopback.wait(lambda answer: True)
        ended.append(True)

    with Loopback(0.3) as loopback:
        host = urlsplit(loopback.address)
        waiting = threading.Thread(target=wait)
        waiting.start()
        connection = http.client.HTTPConnection(host.hostname, host.port, timeout=5)
        connection.request("POST", "/callback?state=s", b"")
        assert connection.getresponse().status == 501
        waiting.join(20)
    assert ended == [True]


def test_who_never_comes_back_is_not_logged_in():
    with Loopback(0.05) as loopback, refused("CM-DENIED", "nobody came back"):
        loopback.wait(lambda answer: True)


# Keys of workloads


def test_one_issuer_in_two_tables_is_refused(tmp_path):
    table = msgspec.convert({"issuer": "https://i.example", "services": {"a": "b"}}, WorkloadTable)
    with refused("CM-CONFIG", "names one issuer twice"):
        Workloads({"one": table, "two": table}, tmp_path, Time(), 5.0)


def test_nothing_is_fetched_over_a_line_that_others_read():
    with refused("CM-CONFIG", "is not https"):
        fetch("http://issuer.example/keys", 1.0, None)


def test_a_document_that_is_too_large_is_refused(issuer):
    issuer.documents["/large"] = (200, b" " * MAX_DOCUMENT)
    assert len(fetch(f"{issuer.url}/large", 5.0, None)) == MAX_DOCUMENT
    issuer.documents["/large"] = (200, b" " * (MAX_DOCUMENT + 1))
    with refused("CM-BACKEND"):
        fetch(f"{issuer.url}/large", 5.0, None)


def test_a_workload_whom_the_configuration_does_not_name_is_nobody(issuer, trusted):
    workloads, _ = trusted()
    workloads.refresh()
    assert workloads.authenticate(of(issuer))[0] == "ward-7"
    with refused("CM-DENIED"):
        workloads.authenticate(of(issuer, sub="sa:ml:other"))
    with refused("CM-DENIED"):
        workloads.authenticate(of(issuer, OTHER))


def test_an_rsa_key_whose_modulus_cannot_be_read_verifies_nothing():
    public = RSA.as_dict(private=False)
    for modulus in ("!", "A", 7, ""):
        with refused("CM-CONFIG", "holds no public key that may verify a token"):
            jwt.read_keys(json.dumps({"keys": [{**public, "n": modulus}]}).encode())
