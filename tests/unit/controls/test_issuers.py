"""Tokens of other people's issuers: what is believed of them, and where their keys come from."""

import base64
import datetime
import hmac
import http.server
import json
import threading
from urllib.parse import parse_qsl

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwk
from joserfc import jwt as maker

from casemate.config import ProviderTable, WorkloadTable
from casemate.controls.access.identity import jwt
from casemate.controls.access.identity.issuers import (
    REFRESH_SECONDS,
    RETRY_SECONDS,
    STALE_SECONDS,
    Workloads,
    discover,
)
from casemate.controls.access.identity.oidc import Provider
from casemate.core.errors import AccessDenied, BackendError, ConfigError

NOW = datetime.datetime(2026, 3, 4, 12, 30, tzinfo=datetime.UTC)
RSA, OTHER = (jwk.generate_key("RSA", 2048, {"kid": name, "use": "sig"}) for name in ("one", "two"))
EC = jwk.generate_key("EC", "P-256", {"kid": "curve"})
SHARED = jwk.import_key(
    {"kty": "oct", "kid": "one", "k": "c2hhcmVkLXNlY3JldC1zaGFyZWQtc2VjcmV0LXNoYXJlZA"}
)
ISSUER, AUDIENCE = "https://issuer.example", "casemate"
GOOD = {
    "iss": ISSUER,
    "sub": "sa:ml:scorer",
    "aud": AUDIENCE,
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 600,
}


def public(*keys):
    return jwt.read_keys(
        json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()
    )


def token(key=RSA, header=None, **changed):
    algorithm = {"RSA": "RS256", "EC": "ES256", "oct": "HS256"}[key.key_type]
    claims = {name: value for name, value in {**GOOD, **changed}.items() if value is not None}
    return maker.encode(
        {"alg": algorithm, "kid": key.kid, **(header or {})}, claims, key, algorithms=[algorithm]
    )


def check(text, keys=None, **changed):
    wanted = {"issuer": ISSUER, "audience": AUDIENCE, "now": NOW, **changed}
    return jwt.verify(text, public(RSA, EC) if keys is None else keys, **wanted)


@pytest.mark.parametrize("key", [RSA, EC])
def test_a_good_token_is_believed(key):
    claims = check(token(key, email="a@example.org"))
    assert (claims.subject, claims.said["email"], claims.issuer) == (
        "sa:ml:scorer",
        "a@example.org",
        ISSUER,
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": int(NOW.timestamp()) - 61},
        {"exp": None},
        {"exp": 1e300},
        {"exp": "tomorrow"},
        {"iat": int(NOW.timestamp()) + 120},
        {"nbf": int(NOW.timestamp()) + 120},
        {"aud": "another"},
        {"aud": ["another"]},
        {"aud": []},
        {"aud": [AUDIENCE, "another"]},
        {"aud": [AUDIENCE, "another"], "azp": "another"},
        {"azp": "another"},
        {"iss": "https://other.example"},
        {"iss": ISSUER + "/"},
        {"sub": ""},
        {"sub": None},
        {"sub": 7},
        {"nonce": "theirs"},
    ],
    ids=str,
)
def test_a_token_for_another_time_place_or_party_is_refused_with_one_text(changed):
    nonce = "mine" if "nonce" in changed else None
    with pytest.raises(AccessDenied, match="^the token is not valid$"):
        check(token(**changed), nonce=nonce)


def test_several_audiences_need_to_be_made_for_us():
    assert check(token(aud=[AUDIENCE, "another"], azp=AUDIENCE)).subject


def unsigned(header, claims=None):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part(header)}.{part(claims or GOOD)}."


def confused():
    """The public RSA key taken for a shared secret."""
    head = unsigned({"alg": "HS256", "kid": "one"})[:-1]
    mac = hmac.digest(RSA.as_pem(private=False), head.encode(), "sha256")
    return f"{head}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


ATTACKS = {
    "none": lambda: unsigned({"alg": "none"}),
    "None": lambda: unsigned({"alg": "None", "kid": "one"}),
    "empty algorithm": lambda: unsigned({"alg": ""}),
    "shared secret": lambda: token(SHARED),
    "public key as secret": confused,
    "unknown key": lambda: token(OTHER),
    "key named by path": lambda: token(header={"kid": "../../one"}),
    "kid that is no text": lambda: unsigned({"alg": "RS256", "kid": ["one"]}),
    "key inside": lambda: token(OTHER, {"kid": "one", "jwk": OTHER.as_dict(private=False)}),
    "key elsewhere": lambda: token(header={"jku": "https://evil.example/keys"}),
    "certificate inside": lambda: token(header={"x5c": ["AAAA"]}),
    "padded": lambda: token() + "=",
    "no signature": lambda: token().rpartition(".")[0] + ".",
    "two parts": lambda: token().rpartition(".")[0],
    "other alphabet": lambda: token().replace("-", "+").replace("_", "/") + "+",
    "another's payload": lambda: ".".join(
        [token().split(".")[0], token(sub="sa:root").split(".")[1], token().split(".")[2]]
    ),
    "too large": lambda: token(x="x" * 20_000),
    "empty": lambda: "",
    "deep": lambda: "[" * 10_000,
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_on_tokens_are_refused_with_one_text(name):
    with pytest.raises(AccessDenied, match="^the token is not valid$"):
        check(ATTACKS[name]())


@pytest.mark.parametrize(
    "changed",
    [
        {"use": "enc"},
        {"key_ops": ["encrypt"]},
        {"key_ops": "sign"},
        {"alg": "PS256"},
        {"alg": "RS384"},
        {"n": "AQAB"},
    ],
    ids=str,
)
def test_a_key_that_is_for_something_else_verifies_nothing(changed):
    key = {**RSA.as_dict(private=False), **changed}
    with pytest.raises(AccessDenied):
        check(token(), [key])
    if "alg" not in changed:
        with pytest.raises(ConfigError, match="no public key"):
            jwt.read_keys(json.dumps({"keys": [key]}).encode())


def test_keys_that_cannot_be_told_apart_verify_nothing():
    twin = {**OTHER.as_dict(private=False), "kid": "one"}
    with pytest.raises(AccessDenied):
        check(token(), [RSA.as_dict(private=False), twin])
    with pytest.raises(AccessDenied):
        check(maker.encode({"alg": "RS256"}, GOOD, RSA), public(RSA, OTHER))


@given(
    st.text(max_size=60)
    | st.from_regex(
        r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}", fullmatch=True
    )
)
def test_hostile_texts_are_refused_without_a_fault(text):
    with pytest.raises(AccessDenied):
        check(text)
    assert isinstance(jwt.issuer_of(text), str)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["keys", "kty", "kid", "n", "e", "crv", "x", "use", "key_ops", "alg"]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)
def test_a_hostile_key_set_is_refused_or_verifies_nothing(value):
    try:
        keys = jwt.read_keys(json.dumps(value).encode())
    except ConfigError:
        return
    with pytest.raises(AccessDenied):
        check(token(), keys)


# Where keys come from


class Issuer:
    """A simulator: an attack is an edit of `documents`."""

    def __init__(self):
        owner = self
        self.asked = 0
        self.posted = []

        class Serve(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                owner.asked += 1
                status, body = owner.documents.get(self.path, (404, b""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                owner.posted.append((dict(parse_qsl(body.decode())), dict(self.headers)))
                self.do_GET()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Serve)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.documents = {}
        self.offer(RSA)
        self.configure()
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def offer(self, *keys):
        self.documents["/keys"] = (
            200,
            json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode(),
        )

    def configure(self, **changed):
        self.documents["/.well-known/openid-configuration"] = (
            200,
            json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys", **changed}).encode(),
        )

    def fail(self):
        self.documents = dict.fromkeys(self.documents, (503, b""))


@pytest.fixture
def issuer():
    made = Issuer()
    yield made
    made.server.shutdown()
    made.server.server_close()


class Time:
    def __init__(self):
        self.ticks = 1000.0

    def now(self):
        return NOW

    def __call__(self):
        return self.ticks


@pytest.fixture
def trusted(issuer, tmp_path):
    def made(**changed):
        table = msgspec.convert(
            {"issuer": issuer.url, "services": {"sa:ml:scorer": "ward-7"}, **changed}, WorkloadTable
        )
        time = Time()
        return Workloads({"cluster": table}, tmp_path, time, 5.0, time), time

    return made


def of(issuer, key=RSA, **changed):
    return token(key, iss=issuer.url, **changed)


def test_a_workload_stands_for_the_service_that_the_configuration_names(issuer, trusted):
    workloads, _ = trusted()
    with pytest.raises(AccessDenied):
        workloads.authenticate(of(issuer))  # before any key is there
    assert workloads.refresh() == []
    assert workloads.authenticate(of(issuer))[0] == "ward-7"
    for other in (
        of(issuer, sub="sa:ml:other"),
        of(issuer, aud="kube-apiserver"),
        token(),
        of(issuer, OTHER),
        of(issuer, exp=None),
    ):
        with pytest.raises(AccessDenied, match="^the token is not valid$"):
            workloads.authenticate(other)


def test_a_new_key_is_fetched_soon_after_a_token_names_it_and_not_more_often(issuer, trusted):
    workloads, time = trusted()
    workloads.refresh()
    issuer.offer(RSA, OTHER)
    before = issuer.asked
    for _ in range(50):
        with pytest.raises(AccessDenied):
            workloads.authenticate(of(issuer, OTHER))
        workloads.refresh()
    assert issuer.asked == before
    time.ticks += RETRY_SECONDS
    assert workloads.refresh() == []
    assert workloads.authenticate(of(issuer, OTHER))[0] == "ward-7"
    issuer.offer(OTHER)
    time.ticks += REFRESH_SECONDS
    workloads.refresh()
    with pytest.raises(AccessDenied):
        workloads.authenticate(of(issuer, RSA))  # withdrawn


def test_keys_outlive_an_outage_of_their_issuer_for_a_day(issuer, trusted):
    workloads, time = trusted()
    workloads.refresh()
    issuer.fail()
    time.ticks += REFRESH_SECONDS
    ((where, fault),) = workloads.refresh()
    assert (where, type(fault).code) == (issuer.url, "CM-RETRY")
    assert workloads.authenticate(of(issuer))[0] == "ward-7"
    time.ticks += STALE_SECONDS
    assert len(workloads.refresh()) == 1
    with pytest.raises(AccessDenied):
        workloads.authenticate(of(issuer))


def test_keys_come_from_a_file_or_an_address_too(issuer, trusted, tmp_path):
    (tmp_path / "keys.json").write_bytes(issuer.documents["/keys"][1])
    for where in ("keys.json", f"{issuer.url}/keys"):
        workloads, _ = trusted(keys=where)
        assert workloads.refresh() == []
        assert workloads.authenticate(of(issuer))[0] == "ward-7"
    workloads, _ = trusted(keys="absent.json")
    assert "cannot be read" in workloads.refresh()[0][1].message


@pytest.mark.parametrize(
    ("edit", "fault", "text"),
    [
        (
            lambda i: i.configure(issuer="https://evil.example"),
            ConfigError,
            "says that the issuer is",
        ),
        (lambda i: i.configure(jwks_uri="http://evil.example/keys"), ConfigError, "not https"),
        (lambda i: i.configure(jwks_uri=7), ConfigError, "not the configuration"),
        (lambda i: i.documents.clear(), BackendError, "answered 404"),
        (
            lambda i: i.documents.update(
                {"/.well-known/openid-configuration": (200, b"{" * 600_000)}
            ),
            BackendError,
            "larger than",
        ),
        (
            lambda i: i.documents.update({"/.well-known/openid-configuration": (302, b"")}),
            BackendError,
            "answered 302",
        ),
        (
            lambda i: i.documents.update(
                {"/.well-known/openid-configuration": (200, b"\xff<html>")}
            ),
            ConfigError,
            "not the configuration",
        ),
    ],
)
def test_a_hostile_configuration_of_an_issuer_is_refused(issuer, edit, fault, text):
    edit(issuer)
    with pytest.raises(fault, match=text):
        discover(issuer.url, 5.0, None)


# Providers that a login is not trusted with


@pytest.fixture
def login(issuer, tmp_path):
    def made(**changed):
        configured = {
            "authorization_endpoint": f"{issuer.url}/auth",
            "token_endpoint": f"{issuer.url}/token",
            **changed,
        }
        issuer.configure(**configured)
        table = msgspec.convert({"issuer": issuer.url, "client": "casemate"}, ProviderTable)
        return Provider("local", table, tmp_path, Time(), str, 5.0)

    return made


def test_a_provider_that_offers_only_weaker_pkce_is_not_used(login):
    with pytest.raises(ConfigError, match="does not offer PKCE with S256"):
        login(code_challenge_methods_supported=["plain"]).begin("http://127.0.0.1:1/callback")
    assert (
        "code_challenge_method=S256"
        in login(code_challenge_methods_supported=None).begin("http://127.0.0.1:1/callback").url
    )


def test_what_a_provider_does_not_offer_is_named(login):
    with pytest.raises(ConfigError, match="no login by device code"):
        login().begin_device()
    with pytest.raises(ConfigError, match="no login in a browser"):
        login(authorization_endpoint="").begin("http://127.0.0.1:1/callback")
    with pytest.raises(ConfigError, match="not https"):
        login(token_endpoint="http://evil.example/token").begin("http://127.0.0.1:1/callback")


@pytest.mark.parametrize(
    "answer",
    [{}, {"code": "c"}, {"state": "", "code": "c"}, {"state": "\u00e4", "code": "c"}],
    ids=["nothing", "no state", "empty", "not ASCII"],
)
def test_an_answer_without_the_state_of_the_login_is_refused(login, answer):
    local = login()
    with pytest.raises(AccessDenied, match="another login"):
        local.finish(local.begin("http://127.0.0.1:1/callback"), answer)


def test_what_the_other_side_says_of_an_error_is_shown_only_if_it_is_a_code(login):
    local = login()
    begun = local.begin("http://127.0.0.1:1/callback")
    with pytest.raises(AccessDenied, match="no reason given"):
        local.finish(begun, {"state": begun.state, "error": "<script>\x1b[2J"})


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("body", [b"", b"[]", b'{"id_token": 7}', b"[" * 5000, b"<html>"])
def test_a_token_endpoint_that_answers_nonsense_is_a_fault_of_the_provider(
    issuer, login, status, body
):
    local = login()
    issuer.documents["/token"] = (status, body)
    begun = local.begin("http://127.0.0.1:1/callback")
    with pytest.raises(BackendError, match="without a token"):
        local.finish(begun, {"state": begun.state, "code": "c"})
