"""Logging in through a real OpenID provider, and what a login must not accept."""

import datetime
import subprocess
import urllib.error
import urllib.request

import pytest
from tests.conftest import command
from tests.interop.openid import Browser, provider

import casemate
from casemate.controls.access.identity.loopback import Loopback
from casemate.core.errors import AccessDenied, ConfigError, RefusedError

REDIRECT = "http://127.0.0.1:41234/callback"
PEOPLE = {
    "sub-ana": {
        "preferred_username": "ana.lopez",
        "roles": ["data-team", "reviewers"],
        "tid": "clinic",
    },
    "sub-ben": {"preferred_username": "ben", "roles": ["strangers"], "tid": "elsewhere"},
}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with provider(tmp_path_factory.mktemp("provider")) as found:
        yield found


@pytest.fixture
def openid(running):
    running.people(PEOPLE)
    return running


@pytest.fixture
def project(fresh, openid):
    """A project that knows the provider; more options can be given."""

    def made(*lines):
        text = (fresh / "casemate.toml").read_text().partition("[access.providers.local]")[0]
        table = [
            "[access.providers.local]",
            f'issuer = "{openid.issuer}"',
            'client = "casemate"',
            *lines,
        ]
        (fresh / "casemate.toml").write_text("\n".join([text, *table, ""]))
        return casemate.open(fresh)

    return made


ROLES = (
    "register = true",
    'roles_from = "roles"',
    'roles = { data-team = ["scientist"], reviewers = ["approver"] }',
)


def entered(project, account="sub-ana", amr="pwd"):
    """The session of a person who has logged in with a browser."""
    local = project.point.options.provider("local")
    begun = local.begin(REDIRECT)
    return project.logins.through(
        local, lambda: local.finish(begun, Browser(account, amr).answer(begun.url))
    )


def test_a_person_logs_in_with_a_browser_and_gets_the_roles_that_the_provider_gives(project):
    here = project(*ROLES)
    words = command("access", "login", "--provider", "local", "--format", "json")
    process = subprocess.Popen(
        words, cwd=here.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    url = next(line.strip() for line in process.stderr if line.startswith("http://"))
    back = Browser("sub-ana").log_in(url)
    for stray in (back.replace("state=", "state=x"), back.partition("?")[0], back + "&code=again"):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(stray)
    with urllib.request.urlopen(back) as page:
        assert "You may close this window" in page.read().decode()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert 'User::\\"ana.lopez\\"' in out
    identity = here.point.identify()
    assert (identity.principal.name, identity.principal.roles, identity.method) == (
        "ana.lopez",
        ("approver", "scientist"),
        "local",
    )
    entry = next(
        entry for entry in reversed(list(here.log.entries())) if entry.action == "access:login"
    )
    assert entry.detail == {"method": "local", "second_factor": False}


def test_a_person_logs_in_by_typing_a_code_on_another_device(project):
    here = project(*ROLES)
    words = command("access", "login", "--provider", "local", "--device")
    process = subprocess.Popen(
        words, cwd=here.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    line = process.stderr.readline().split()
    Browser("sub-ana").type_code(line[line.index("open") + 1], line[-1])
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert out.startswith('User::"ana.lopez" is logged in')


def test_who_refuses_at_the_provider_or_comes_too_late_is_not_logged_in(project):
    here = project(*ROLES)
    local = here.point.options.provider("local")
    begun = local.begin(REDIRECT)
    with pytest.raises(AccessDenied, match="refused the login .access_denied."):
        here.logins.through(local, lambda: local.finish(begun, Browser(None).answer(begun.url)))
    newest = list(here.log.entries())[-1]
    assert (newest.principal, newest.action, newest.outcome) == (
        'Provider::"local"',
        "access:login",
        "denied",
    )
    device = local.begin_device()
    waits = []
    late = type(device)(
        device.device_code, device.user_code, device.verification_uri, expires_in=10.0
    )
    with pytest.raises(AccessDenied, match="nobody typed the code"):
        local.poll(late, waits.append)
    assert waits == [5.0, 5.0]


def test_roles_follow_the_provider_at_every_login(project, openid):
    here = project(*ROLES)
    entered(here)
    openid.people({"sub-ana": {**PEOPLE["sub-ana"], "roles": "reviewers"}})
    assert entered(here).principal.roles == ("approver",)
    granted = [entry.detail for entry in here.log.entries() if entry.action == "role:grant"]
    assert granted == [{"provider": "local", "roles": ["approver"]}]
    openid.people({"sub-ana": {**PEOPLE["sub-ana"], "roles": []}})
    assert entered(here).principal.roles == ()


def test_the_provider_cannot_take_the_last_owner_away(project, openid):
    here = project(
        "register = true",
        'roles_from = "roles"',
        'roles = { boss = ["owner"], team = ["auditor"] }',
    )
    openid.people({"sub-ana": {**PEOPLE["sub-ana"], "roles": ["boss"]}})
    entered(here)
    here.access.withdraw(here.point.directory.current_user().name, "owner")
    openid.people({"sub-ana": {**PEOPLE["sub-ana"], "roles": ["team"]}})
    with pytest.raises(RefusedError, match="only owner"):
        entered(here)


def test_nobody_is_let_in_whom_the_project_does_not_know(project, openid):
    here = project()
    with pytest.raises(AccessDenied, match="nobody here has this account") as refused:
        entered(here)
    assert f"--account '{openid.issuer} sub-ana'" in refused.value.hint
    assert here.point.directory.find("User", "ana.lopez") is None
    with pytest.raises(AccessDenied, match="nobody here has this account"):
        entered(project(*ROLES), "sub-ben")  # whose roles mean nothing here
    denied = [
        entry
        for entry in here.log.entries()
        if entry.action == "access:login" and entry.outcome == "denied"
    ]
    assert [entry.principal for entry in denied] == ['Provider::"local"'] * 2
    here.access.add_user("ana", ["auditor"], account=f"{openid.issuer} sub-ana")
    session = entered(project())
    assert (session.principal.name, session.principal.roles) == ("ana", ("auditor",))


def test_an_equal_name_makes_nobody_somebody_else(project):
    here = project(*ROLES)
    here.access.add_user("ana.lopez", ["owner"], "correct horse battery")
    with pytest.raises(AccessDenied, match="there is a user 'ana.lopez' already"):
        entered(here)


def test_a_disabled_person_stays_out(project):
    here = project(*ROLES)
    entered(here)
    here.logins.logout()
    here.access.disable_user("ana.lopez")
    with pytest.raises(AccessDenied, match="disabled"):
        entered(here)


def test_a_second_factor_at_the_provider_counts_from_when_it_was_used(project):
    here = project(*ROLES, 'factor = { amr = ["mfa", "hwk"] }')
    assert entered(here, amr="pwd").mfa is None
    used = entered(here, amr="pwd mfa").mfa
    assert datetime.timedelta(0) <= here.clock.now() - used < datetime.timedelta(minutes=1)
    assert entered(project(*ROLES), amr="pwd mfa").mfa is None


def test_a_required_claim_keeps_other_tenants_out(project):
    here = project(*ROLES, 'require = { tid = ["clinic"] }', 'account = ["tid", "sub"]')
    assert entered(here).principal.name == "ana.lopez"
    with pytest.raises(AccessDenied, match="tid is as required"):
        entered(here, "sub-ben")


def test_groups_that_were_left_out_are_not_taken_for_none(project, openid):
    here = project("register = true", 'roles_from = "groups"', 'roles = { g1 = ["auditor"] }')
    openid.people({"sub-ana": {**PEOPLE["sub-ana"], "_claim_names": {"groups": "src1"}}})
    with pytest.raises(AccessDenied, match="more groups than the provider"):
        entered(here)
    openid.people({"sub-ana": {**PEOPLE["sub-ana"], "groups": ["g0", "g1"]}})
    assert entered(here).principal.roles == ("auditor",)


def test_a_client_with_a_secret_shows_it_and_a_wrong_one_is_refused(project, monkeypatch):
    here = project(*ROLES, 'secret = "env:CLIENT"')
    text = (
        (here.root / "casemate.toml")
        .read_text()
        .replace('client = "casemate"', 'client = "confidential"')
    )
    (here.root / "casemate.toml").write_text(text)
    monkeypatch.setenv("CLIENT", "a secret with : and %")
    assert entered(casemate.open(here.root)).principal.name == "ana.lopez"
    monkeypatch.setenv("CLIENT", "another one")
    with pytest.raises(AccessDenied, match="refused the login .invalid_client."):
        entered(casemate.open(here.root))


# Attacks


def test_an_answer_to_another_login_is_refused(project):
    local = project(*ROLES).point.options.provider("local")
    mine, theirs = local.begin(REDIRECT), local.begin(REDIRECT)
    answer = Browser("sub-ben").answer(theirs.url)
    with pytest.raises(AccessDenied, match="another login"):
        local.finish(mine, answer)
    with pytest.raises(AccessDenied, match="another login"):
        local.finish(mine, {name: value for name, value in answer.items() if name != "state"})


def test_a_code_of_another_login_is_useless(project):
    """Code injection: the thief's own state, somebody else's code."""
    local = project(*ROLES).point.options.provider("local")
    mine, theirs = local.begin(REDIRECT), local.begin(REDIRECT)
    stolen = Browser("sub-ana").answer(theirs.url)["code"]
    answer = {**Browser("sub-ben").answer(mine.url), "code": stolen}
    with pytest.raises(AccessDenied, match="refused the login .invalid_grant."):
        local.finish(mine, answer)


def test_a_token_with_another_nonce_is_refused(project):
    local = project(*ROLES).point.options.provider("local")
    begun = local.begin(REDIRECT)
    answer = Browser("sub-ana").answer(begun.url)
    other = type(begun)(begun.url, begun.redirect, begun.state, "another nonce", begun.verifier)
    with pytest.raises(AccessDenied, match="not valid"):
        local.finish(other, answer)


@pytest.mark.parametrize("issuer", [None, "http://127.0.0.1:1", ""])
def test_an_answer_of_another_provider_is_refused(project, issuer):
    """Mix-up: a provider that promises `iss` (RFC 9207) must give its own."""
    local = project(*ROLES).point.options.provider("local")
    begun = local.begin(REDIRECT)
    answer = Browser("sub-ana").answer(begun.url)
    assert answer.pop("iss") == local.metadata.issuer
    with pytest.raises(AccessDenied, match="another provider"):
        local.finish(begun, answer if issuer is None else {**answer, "iss": issuer})


def test_a_code_is_good_once(project):
    local = project(*ROLES).point.options.provider("local")
    begun = local.begin(REDIRECT)
    answer = Browser("sub-ana").answer(begun.url)
    local.finish(begun, answer)
    with pytest.raises(AccessDenied, match="invalid_grant"):
        local.finish(begun, answer)


def test_every_login_asks_for_pkce_with_its_own_verifier(project):
    local = project(*ROLES).point.options.provider("local")
    one, other = local.begin(REDIRECT), local.begin(REDIRECT)
    assert "code_challenge_method=S256" in one.url
    assert len({one.verifier, other.verifier, one.state, other.state, one.nonce, other.nonce}) == 6
    assert one.verifier not in one.url


def test_a_provider_that_calls_itself_otherwise_is_not_used(project, openid):
    here = project(*ROLES)
    text = (here.root / "casemate.toml").read_text()
    (here.root / "casemate.toml").write_text(
        text.replace(openid.issuer, openid.issuer.replace("127.0.0.1", "localhost"))
    )
    with pytest.raises(ConfigError, match="says that the issuer is"):
        casemate.open(here.root).point.options.provider("local").begin(REDIRECT)


def test_nobody_waits_for_ever_for_a_browser():
    with Loopback(seconds=0.2) as loopback, pytest.raises(AccessDenied, match="nobody came back"):
        loopback.wait(lambda _: True)


def test_an_unknown_provider_is_named(project, cli):
    here = project(*ROLES)
    answer = cli("access", "login", "--provider", "elsewhere", "--config", here.root)
    assert (answer.code, "[access.providers]: local" in answer.err) == (2, True)
    assert cli("access", "login", "--device", "--config", here.root).code == 2
    assert cli("access", "login", "ana", "--provider", "local", "--config", here.root).code == 2


def test_a_provider_that_is_away_is_one_clear_message(fresh, cli):
    text = (fresh / "casemate.toml").read_text()
    (fresh / "casemate.toml").write_text(
        text + '\n[access.providers.gone]\nissuer = "http://127.0.0.1:9"\nclient = "x"\n'
    )
    answer = cli("access", "login", "--provider", "gone", "--config", fresh)
    assert answer.code == 5
    assert "127.0.0.1:9 was not reached" in answer.err
