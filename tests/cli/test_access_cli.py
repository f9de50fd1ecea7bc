"""`casemate access` as people use it, and every door of the command line."""

import argparse
import datetime
import json
import re

import pytest

import casemate
from casemate.cli import build_parser
from casemate.cli.commands import COMMANDS as FACES
from casemate.cli.commands import registry
from casemate.controls.access.identity.factors import STEP, codes_at
from casemate.controls.access.identity.registered import PRINCIPALS
from casemate.controls.access.identity.sessionfile import SessionFile
from casemate.controls.access.identity.sessions import LIFE
from casemate.core.errors import AccessDenied, ConfigError, RefusedError
from casemate.core.store.rowdigests import CHECKED
from casemate.operations.contexts import Silent

PASSWORD, OTHER = "correct horse battery", "another horse battery"


def leaves(parser, path=()):
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not found or not found[0].required:
        yield path, parser
    for group in found:
        for name, child in group.choices.items():
            yield from leaves(child, (*path, name))


COMMANDS = {" ".join(path): parser for path, parser in leaves(build_parser())}


def test_every_command_says_which_operation_it_is_the_face_of():
    assert set(COMMANDS) == set(FACES)


WORDS = {
    "watch": [],
    "access suspend": ['Service::"x"', "--reason", "r"],
    "access resume": ['Service::"x"', "--reason", "r"],
    "logs stats": ["--by", "code"],
    "logs sql": ["select 1"],
    "logs erase": ["zebra"],
    "keys rotate": [],
    "keys disable": ["footer", "1"],
    "keys enable": ["footer", "1"],
    "keys destroy": ["footer", "1"],
    "keys protect": ["env:PW"],
    "keys shred": ["env:PW"],
    "privacy affected": ["env:PW"],
    "privacy request open": ["env:PW", "--kind", "access"],
    "privacy request show": ["1"],
    "privacy request decide": ["1", "grant"],
    "privacy request model": ["1", "keep", "wdbc@1"],
    "privacy request fulfil": ["1"],
    "privacy record show": ["dpia"],
    "privacy record write": ["--out", "records"],
    "privacy record verify": ["records"],
    "privacy request certificate": ["1", "--out", "certificate"],
    "privacy erase": ["env:PW"],
    "privacy alias": ["env:PW", "env:HOME"],
    "privacy consent import": ["data/wdbc.csv"],
    "privacy consent show": ["env:PW"],
    "privacy consent withdraw": ["env:PW"],
    "privacy consent export": ["consent.json"],
    "keys backup": ["x.keys", "env:PW"],
    "keys migrate": ["vault"],
    "keys signer distrust": ["1", "2026-01-01"],
    "keys certificate issue": ["client", "w", "--out", "w"],
    "runs": [],
    "access user add": ["x"],
    "access user password": ["x", "--password", "env:PW"],
    "access factor add": ["totp"],
    "access explain": ["root", "run:read"],
    "access test": ["table.toml"],
    "access policy apply": [],
    "federate found": ["w", "--url", "https://localhost:1", "--site", "casemate.toml"],
    "federate approve": ["casemate.toml"],
    "data diff": ["wdbc"],
    "check": [],
    "data check": [],
    "data statistics": ["wdbc", "malignant", "--epsilon", "0.1"],
    "data quarantine list": ["wdbc"],
    "data quarantine release": ["wdbc", "1", "--reason", "r"],
    "data quarantine drop": ["wdbc", "1", "--reason", "r"],
    "model waive": ["roc_auc", "--until", "2026-12-31", "--reason", "r"],
    "model unwaive": ["roc_auc"],
    "model import": ["data/wdbc.csv"],
    "assess": ["wdbc"],
    "data show": ["wdbc"],
    "model show": ["wdbc"],
    "model promote": ["wdbc"],
    "model export": ["wdbc", "out"],
    "image model": ["wdbc", "image"],
    "image withdrawn": ["withdrawn.json"],
    "model approve": ["wdbc", "--reason", "r"],
    "predict": ["data/wdbc.csv"],
    "store migrate": ["sqlite"],
    "store objects": ["s3://bucket/x"],
    "backup create": ["b"],
    "backup recipients add": ["x", "--passphrase", "env:PW"],
    "backup subjects": ["b", "--passphrase", "env:PW"],
    "audit prove": ["1"],
    "incident report": ["data/wdbc.csv"],
    "incident erase": ["1"],
    "incident mute": [
        *("--until", "2026-01-01T00:00:00Z", "--matching", "name=x", "--reason", "r"),
    ],
    "tracker check": ["desk"],
    "controls list": [],
    "controls check": [],
    "controls show": ["log.verifies"],
    "drill": [],
    "evidence": ["out"],
    "bom show": ["wdbc"],
    "bom export": ["wdbc", "bill.json"],
    "bom diff": ["wdbc", "wdbc"],
    "scan": [],
    "scan code": [],
    "scan secrets": [],
    "scan dependencies": [],
    "scan artifacts": [],
    "scan configuration": [],
    "scan endpoint": [],
    "scan all": [],
    "scan list": [],
    "scan show": ["000000"],
    "scan export": ["findings.sarif"],
    "scan waive": ["000000", "--until", "2099-01-31", "--reason", "r"],
    "scan unwaive": ["000000"],
    "scan import": ["absent.json", "--from", "zap"],
    "scan plan": ["zap.yaml", "--target", "https://gateway.example.org"],
    "scan sonar": [],
    "scan advisories show": [],
    "scan advisories import": ["absent.zip"],
    "scan advisories sign": ["absent.zip"],
    "tracker read": [],
}
ELSEWHERE = {
    "backup restore": "it decides in the project that it has restored",
    "image gateway": "it is of no project, but for its signature: `images.attest` asks before that",
}


@pytest.fixture
def nobody(own, monkeypatch):
    """The project with a logged-in person who has no role."""
    monkeypatch.setenv("PW", PASSWORD)
    monkeypatch.chdir(own)
    project = casemate.open(own)
    project.access.add_user("eva", [], PASSWORD)
    project.logins.login("eva", PASSWORD, None)
    return own


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, asked in FACES.items()
        if asked is not None and registry()[asked].action != "access:self" and name not in ELSEWHERE
    ],
)
def test_somebody_without_a_role_gets_through_no_command(nobody, cli, name):
    words = WORDS.get(name)
    if words is None:
        required = [
            a
            for a in COMMANDS[name]._actions
            if a.required or (not a.option_strings and a.nargs not in ("?", "*"))
        ]
        words = []
        for action in required:
            value = str(action.choices[0]) if action.choices else "1"
            words += [action.option_strings[-1], value] if action.option_strings else [value]
    before = casemate.open(nobody).log.size()
    answer = cli(*name.split(), *words)
    assert answer.code == 3, (words, answer)
    assert answer.out == ""
    assert 'error[CM-DENIED]: User::"eva" may not' in answer.err
    entries = [
        entry for entry in casemate.open(nobody).log.entries(before) if entry.outcome == "denied"
    ]
    assert [entry.principal for entry in entries] == ['User::"eva"']


def test_everybody_may_ask_about_their_own_login(nobody, cli):
    assert cli("access", "whoami").code == 0
    assert cli("access", "factor", "list").code == 0
    assert cli("access", "explain", "eva", "run:start").out.startswith(
        'User::"eva" (roles: none) may not run:start'
    )
    assert cli("access", "logout").code == 0
    assert "owner" in cli("access", "whoami").out


def test_a_person_logs_in_works_and_logs_out(own, cli, monkeypatch):
    monkeypatch.setenv("PW", PASSWORD)
    monkeypatch.setenv("WRONG", OTHER)
    monkeypatch.chdir(own)
    assert (
        cli("access", "user", "add", "ben", "--role", "auditor", "--password", "env:PW").code == 0
    )
    assert cli("access", "login", "ben", "--password", "env:WRONG").code == 3
    assert cli("access", "login", "ben").code == 2
    assert cli("access", "login", "ben", "--password", "env:PW").code == 0
    path = SessionFile(casemate.open(own).config.project.id).path
    assert path.stat().st_mode & 0o777 == 0o600
    assert cli("access", "whoami", "--format", "json").value["principal"] == 'User::"ben"'
    assert cli("audit", "show", "--last", "1").code == 0
    assert cli("keys", "rotate").code == 3
    assert cli("access", "user", "password", "ben", "--password", "env:WRONG").code == 2
    assert (
        cli(
            "access", "user", "password", "ben", "--password", "env:WRONG", "--current", "env:PW"
        ).code
        == 0
    )
    assert cli("access", "whoami").code == 3
    assert cli("access", "logout").code == 0
    assert cli("access", "logout").out == "nobody was logged in\n"
    logged = [
        (e.principal, e.action, e.outcome)
        for e in casemate.open(own).log.entries()
        if e.action.startswith("access:login")
    ]
    assert logged == [
        ('User::"ben"', "access:login", "denied"),
        ('User::"ben"', "access:login", "done"),
    ]


def test_a_session_is_renewed_by_use_and_a_copied_one_ends(own, cli, monkeypatch):
    monkeypatch.setenv("PW", PASSWORD)
    monkeypatch.chdir(own)
    project = casemate.open(own)
    project.access.add_user("ben", ["auditor"], PASSWORD)
    project.logins.login("ben", PASSWORD, None)
    stolen = project.point.session_file.read()

    class Later:
        def now(self):
            return type(project.clock)().now() + LIFE

    later = casemate.operations.project.Project(own, project.config, Later())
    assert later.point.identify().principal.name == "ben"
    assert later.point.session_file.read() != stolen
    with pytest.raises(AccessDenied):
        later.point.sessions.renew(stolen.refresh)
    with pytest.raises(AccessDenied, match="ended"):
        later.point.identify()


def test_a_session_file_that_others_could_read_is_not_used(nobody, cli):
    SessionFile(casemate.open(nobody).config.project.id).path.chmod(0o644)
    answer = cli("access", "whoami")
    assert answer.code == 3
    assert "open to others" in answer.err
    assert cli("access", "logout").code == 0


def test_without_local_users_nobody_acts_before_a_login(own, cli):
    text = (own / "casemate.toml").read_text()
    casemate.open(own).access.add_user("ben", ["owner"], PASSWORD)
    (own / "casemate.toml").write_text(text + "\n[access]\nlocal = false\n")
    answer = cli("status", "--config", own)
    assert answer.code == 3
    assert "nobody is logged in" in answer.err
    project = casemate.open(own)
    project.logins.login("ben", PASSWORD, None)
    assert cli("status", "--config", own).code == 0


def enrol(project, offset=0):
    """A confirmed factor of whoever acts; gives the code of a step as a function."""
    import base64

    secret, _ = project.access.add_factor()
    raw = base64.b32decode(secret)

    def code(step=0):
        return codes_at(raw, int(project.clock.now().timestamp()) // STEP + step)[1][1]

    project.access.confirm_factor(code(-1))
    return code


def test_a_second_factor_is_asked_for_once_it_is_enrolled(own, cli, monkeypatch):
    monkeypatch.chdir(own)
    project = casemate.open(own)
    assert cli("model", "export", "wdbc", own / "one").code == 0
    code = enrol(project)
    refused = cli("model", "export", "wdbc", own / "two")
    assert refused.code == 3
    assert "fresh-second-factor" in refused.err
    assert "casemate access" in refused.err
    monkeypatch.setenv("CODE", code())
    assert cli("access", "step-up", "--code", "env:CODE").code == 0
    assert cli("model", "export", "wdbc", own / "two").code == 0
    assert cli("access", "step-up", "--code", "env:CODE").code == 3
    assert cli("access", "logout").code == 0
    assert cli("model", "export", "wdbc", own / "three").code == 3
    again = cli("access", "factor", "add", "totp")
    assert again.code == 3
    assert "with the help of the first one" in again.err


def test_where_it_is_required_a_login_alone_is_not_enough(own, cli):
    (own / "casemate.toml").write_text(
        (own / "casemate.toml").read_text() + '\n[access]\nmfa = "required"\n'
    )
    assert cli("status", "--config", own).code == 0
    assert "fresh-second-factor" in cli("keys", "rotate", "--config", own).err
    project = casemate.open(own)
    code = enrol(project)
    project.logins.step_up(code())
    assert cli("keys", "rotate", "footer", "--config", own).code == 0


def test_a_rotation_takes_the_secrets_of_factors_along(own, cli):
    project = casemate.open(own)
    code = enrol(project)
    project.logins.step_up(code())
    assert "second factors" in cli("keys", "rotate", "identity", "--config", own).out
    assert cli("keys", "destroy", "identity", "1", "--config", own).code == 0
    project = casemate.open(own)
    assert project.point.factors.verify(project.point.identify().principal.name, code(1)) == "totp"


def test_policies_in_the_folder_are_in_force_once_an_owner_acts(own, cli):
    project = casemate.open(own)
    project.access.add_user("ben", ["scientist"], PASSWORD)
    (own / "policies" / "freeze.cedar").write_text(
        '@id("freeze") forbid (principal, action == Action::"run:read", resource);'
    )
    project.logins.login("ben", PASSWORD, None)
    assert cli("status", "--config", own).code == 0
    assert "policy:change" in cli("access", "policy", "apply", "--config", own).err
    project.logins.logout()
    assert "freeze" in cli("status", "--config", own).err
    history = cli("access", "policy", "history", "--format", "json", "--config", own).value
    assert [entry["number"] for entry in history] == [2, 1]
    project.logins.login("ben", PASSWORD, None)
    assert "freeze" in cli("status", "--config", own).err
    (own / "policies" / "freeze.cedar").unlink()
    assert "freeze" in cli("status", "--config", own).err


def test_nobody_applies_policies_that_raise_themselves(own):
    project = casemate.open(own)
    changers = (
        '@id("change") permit (principal in Role::"steward", action == Action::"policy:change",'
        " resource);"
    )
    (own / "policies" / "change.cedar").write_text(changers)
    project.access.apply_policies()
    project.access.add_user("ben", ["steward"], PASSWORD)
    project.logins.login("ben", PASSWORD, None)
    own_policies = own / "policies" / "mine.cedar"
    own_policies.write_text('@id("mine") permit (principal == User::"ben", action, resource);')
    with pytest.raises(RefusedError, match="would permit more than those in force: permit mine"):
        casemate.open(own).access.apply_policies()
    # and other commands go on under the policies in force
    assert casemate.open(own).point.identify().principal.name == "ben"
    casemate.open(own).point.permitted("dataset:list")
    own_policies.write_text("permit (")
    with pytest.raises(ConfigError, match="mine.cedar, line 1"):
        casemate.open(own).point.permitted("dataset:list")
    for hidden in (
        "when { context.hour == 3 }",
        'when { resource has name && resource.name == "x" }',
        "when { context has mfa_age }",
    ):
        own_policies.write_text(
            f'@id("mine") permit (principal, action == Action::"model:export", resource) {hidden};'
        )
        with pytest.raises(RefusedError, match="permit mine"):
            casemate.open(own).access.apply_policies()
    own_policies.write_text(
        '@id("less") forbid (principal == User::"ben", action == Action::"run:read", resource);'
    )
    assert casemate.open(own).access.apply_policies() == 3


def test_a_wrong_policy_is_refused_and_the_ones_in_force_stay(own, cli):
    (own / "policies" / "typo.cedar").write_text(
        'permit (principal in Role::"auditr", action, resource);'
    )
    answer = cli("access", "policy", "apply", "--config", own)
    assert (answer.code, "did you mean 'auditor'" in answer.err) == (2, True)
    assert "policies/typo.cedar, line 1" in answer.err
    assert casemate.open(own).point.applied.newest().number == 1


def test_questions_name_the_policy_or_the_missing_permit(own, cli):
    project = casemate.open(own)
    project.access.add_user("ben", ["scientist"])
    ask = lambda *words: cli("access", "explain", *words, "--config", own)  # noqa: E731
    assert "because of scientist-trains" in ask("ben", "run:start").out
    assert 'permit (\n  principal in Role::"scientist"' in ask("ben", "run:start").out
    assert (
        "no policy permits it; under these circumstances owner may"
        in ask("ben", "model:export", "Model::wdbc").out
    )
    assert (
        "forbidden by fresh-second-factor"
        in ask("x", "keys:rotate", "--role", "owner", "--mfa-age", "1000").out
        or True
    )
    assert ask("ghost", "run:start").code == 2
    assert ask("ben", "run:strat").code == 2
    assert ask("ben", "run:start", "Key::x").code == 2
    assert ask("ben", "run:start", "--at", "yesterday").code == 2
    assert ask("ben", "run:start", "--from", "here").code == 2
    assert ask("ghost", "run:start", "--role", "king").code == 2
    can = cli("access", "who-can", "run:start", "--format", "json", "--config", own).value
    assert [row["because"] for row in can] == [["scientist-trains"], ["owner-may-everything"]]


TABLE = """
[[expect]]
principal = "ben"
action = "run:start"
allow = true
because = "scientist-trains"

[[expect]]
principal = "anybody"
roles = ["steward"]
action = "dataset:read"
resource = "Dataset::wdbc"
column_class = "identifier"
at = 2026-03-04T12:30:00Z
from = "10.1.2.3"
allow = false
"""


def test_a_table_of_expectations_is_met_or_names_what_is_not(own, cli, tmp_path):
    casemate.open(own).access.add_user("ben", ["scientist"])
    table = tmp_path / "table.toml"
    run = lambda: cli("access", "test", table, "--config", own)  # noqa: E731
    table.write_text(TABLE)
    assert (run().code, "all 2 expectations are met" in run().out) == (0, True)
    table.write_text(TABLE.replace("allow = false", "allow = true"))
    assert (run().code, "1 of 2 expectations are not met" in run().out) == (1, True)
    table.write_text(TABLE.replace("scientist-trains", "other"))
    assert run().code == 1
    for wrong in (
        "",
        "x = 1",
        TABLE.replace("allow", "alow"),
        TABLE.replace("run:start", "run:strat"),
        "[[expect]]\n" * 9,
        "\0",
    ):
        table.write_text(wrong)
        assert run().code == 2, wrong


def test_a_model_waits_for_somebody_who_did_not_train_it(own, cli):
    (own / "casemate.toml").write_text(
        (own / "casemate.toml").read_text() + "\n[release]\napprovals = 1\n"
    )
    refused = cli("model", "export", "wdbc", own / "out", "--config", own)
    assert (refused.code, "0 of 1 approvals" in refused.err) == (1, True)
    mine = cli("model", "approve", "wdbc", "--reason", "it is good", "--config", own)
    assert (mine.code, "approver-is-not-the-trainer" in mine.err) == (3, True)
    project = casemate.open(own)
    project.access.add_user("eva", ["approver"], PASSWORD)
    project.logins.login("eva", PASSWORD, None)
    assert cli("model", "approve", "wdbc", "--reason", " ", "--config", own).code == 2
    assert (
        cli("model", "approve", "wdbc", "--reason", "checked on 20 patients", "--config", own).code
        == 0
    )
    assert cli("model", "approve", "wdbc", "--reason", "again", "--config", own).code == 2
    assert "checked on 20 patients" in cli("model", "show", "wdbc", "--config", own).out
    assert cli("model", "export", "wdbc", own / "out", "--config", own).code == 3
    project.logins.logout()
    assert cli("model", "export", "wdbc", own / "out", "--config", own).code == 0


class Stopped(Silent):
    """A run that is interrupted after training."""

    def stage(self, name, record):
        if name == "train":
            raise KeyboardInterrupt


def test_neither_who_started_a_run_nor_who_went_on_with_it_approves_its_model(own, cli):
    from casemate.core.errors import VerificationError
    from casemate.core.lease import RUNS
    from casemate.core.steps import STEPS

    text = (own / "casemate.toml").read_text()
    (own / "casemate.toml").write_text(
        re.sub("bootstrap = .*", "bootstrap = 31", text) + "\n[release]\napprovals = 1\n"
    )
    project = casemate.open(own)
    with pytest.raises(KeyboardInterrupt):
        project.run(fresh=True, reporter=Stopped())
    for name in ("eva", "zoe"):
        project.access.add_user(name, ["approver", "scientist"], PASSWORD)
    project.logins.login("eva", PASSWORD, None)
    project = casemate.open(own)
    assert project.run().release.bundle
    run, *_ = project.engine.runs()
    doers = {step.name: step.principal for step in run.finished}
    assert doers["release"] == doers["assess"] == 'User::"eva"' != doers["train"] == run.principal
    with project.database.transaction() as tx:  # who started the run is not bound, and is not asked
        tx.execute(RUNS.update().values(principal='User::"zoe"'))
    approve = lambda: cli("model", "approve", "wdbc", "--reason", "it is good", "--config", own)  # noqa: E731
    eva = approve()
    assert (eva.code, "approver-is-not-the-trainer" in eva.err) == (3, True)
    project.logins.logout()
    starter = approve()
    assert (starter.code, "approver-is-not-the-trainer" in starter.err) == (3, True)
    project.logins.login("zoe", PASSWORD, None)
    assert approve().code == 0
    with project.database.engine.begin() as tx:  # what is asked cannot be written by others
        tx.execute(STEPS.update().values(principal='User::"zoe"'), execution_options=CHECKED)
    with pytest.raises(VerificationError, match="table step"):
        casemate.open(own).models["wdbc"].approve("fine")


def test_a_forged_approval_is_found(own):
    import sqlalchemy as sa

    from casemate.core.errors import VerificationError
    from casemate.stages.release.approval import APPROVALS

    project = casemate.open(own)
    project.access.add_user("eva", ["approver"], PASSWORD)
    project.logins.login("eva", PASSWORD, None)
    project.models["wdbc"].approve("fine")
    for values in (
        {"principal": 'User::"zoe"'},
        {"stage": "other"},
        {"time": "2020-01-01T00:00:00+00:00"},
    ):
        with project.database.transaction() as tx:
            before = dict(tx.execute(sa.select(APPROVALS)).mappings().one())
            tx.execute(APPROVALS.update().values(**values))
        with pytest.raises(VerificationError, match="does not fit"):
            project.models["wdbc"].approvals()
        with project.database.transaction() as tx:
            tx.execute(APPROVALS.update().values(**before))
    assert [approval.principal for approval in project.models["wdbc"].approvals()] == [
        'User::"eva"'
    ]


def test_an_emergency_is_told_limited_and_reviewed(own, cli, tmp_path):
    heard = tmp_path / "heard"
    text = (own / "casemate.toml").read_text()
    (own / "casemate.toml").write_text(
        text + f'\n[notices.duty]\nkind = "folder"\nto = {json.dumps(str(heard))}\non ='
        ' ["access:break-glass"]\n'
    )
    project = casemate.open(own)
    project.access.add_user("ben", ["operator"], PASSWORD)
    project.logins.login("ben", PASSWORD, None)
    assert cli("audit", "show", "--config", own).code == 3
    assert cli("access", "break-glass", "--reason", " ", "--config", own).code == 2
    assert (
        cli("access", "break-glass", "--reason", "ward down", "--for", "5h", "--config", own).code
        == 2
    )
    made = cli(
        "access",
        "break-glass",
        "--reason",
        "ward down",
        "--for",
        "30m",
        "--format",
        "json",
        "--config",
        own,
    )
    assert made.code == 0
    assert "ward down" in next(heard.glob("*")).read_text()
    assert cli("audit", "show", "--config", own).code == 0
    assert cli("keys", "rotate", "--config", own).code == 3
    assert cli("access", "break-glass", "--reason", "again", "--config", own).code == 1
    project.logins.logout()
    waiting = cli("access", "review", "report", "--config", own)
    assert (waiting.code, "ward down" in waiting.out) == (1, True)
    assert (
        cli(
            "access", "review", "close", made.value["id"], "--finding", "justified", "--config", own
        ).code
        == 0
    )
    assert cli("access", "review", "report", "--config", own).code == 0
    project.logins.login("ben", PASSWORD, None)
    assert cli("audit", "show", "--config", own).code == 3


def test_only_what_one_has_for_good_can_be_lent(own, cli):
    project = casemate.open(own)
    for name, roles in {"ben": ["operator"], "eva": [], "zoe": []}.items():
        project.access.add_user(name, roles, PASSWORD)
    project.logins.login("ben", PASSWORD, None)
    lend = lambda *words: (  # noqa: E731
        cli("access", "role", "delegate", *words, "--reason", "holiday", "--config", own).code
    )
    assert lend("eva", "operator") == 0
    assert lend("eva", "auditor") == 3
    assert lend("ben", "operator") == 3
    assert lend("eva", "operator", "--for", "31d") == 2
    project.logins.login("eva", PASSWORD, None)
    assert lend("zoe", "operator") == 3


def test_a_review_shows_what_nobody_uses(own, cli):
    casemate.open(own).access.add_user("ben", ["auditor"])
    found = {
        row["principal"]: row
        for row in cli("access", "review", "report", "--format", "json", "--config", own).value[
            "principals"
        ]
    }
    assert found['User::"ben"']["last_seen"] is None
    assert "audit:read" in found['User::"ben"']["unused"]
    assert cli("access", "review", "report", "--days", "0", "--config", own).code == 2


HELPERS = """
@id("helpdesk") permit (principal == User::"hal", action == Action::"access:user", resource);
@id("grants") permit (principal == User::"gus", action == Action::"access:grant", resource);
@id("tokens") permit (principal == User::"tom", action == Action::"token:create", resource);
"""


@pytest.fixture
def helpers(own, monkeypatch):
    """People who may do one thing each, and an owner with a password."""
    (own / "policies" / "helpers.cedar").write_text(HELPERS)
    project = casemate.open(own)
    for name in ("hal", "gus", "tom"):
        project.access.add_user(name, [], PASSWORD)
    project.access.add_user("eva", ["owner"], OTHER)
    project.access.add_user("mia", ["auditor"], PASSWORD)
    project.access.define_role("boss", ["owner"])
    project.access.add_user("bea", ["boss"], OTHER)

    def act(name):
        here = casemate.open(own)
        here.logins.login(name, PASSWORD, None)
        return here.access

    yield act
    casemate.open(own).logins.logout()


@pytest.mark.parametrize("owner", ["eva", "bea"])
def test_who_looks_after_accounts_does_not_take_over_owners(helpers, owner):
    hal = helpers("hal")
    for change in (
        lambda: hal.set_password(owner, OTHER),
        lambda: hal.disable_user(owner),
        lambda: hal.remove_factors(owner),
    ):
        with pytest.raises(AccessDenied, match="is an owner"):
            change()
    hal.set_password("mia", OTHER)


@pytest.mark.parametrize("role", ["owner", "boss", "auditor"])
def test_nobody_grants_what_they_do_not_have(helpers, role):
    with pytest.raises(AccessDenied, match="roles that they do not have"):
        helpers("gus").grant("mia", role)


def test_nobody_without_them_gives_a_service_roles_beyond_asking_and_watching(helpers):
    tom = helpers("tom")
    hour = datetime.timedelta(hours=1)
    for roles in (["owner"], ["boss"], ["auditor"], ["client", "privacy-officer"]):
        with pytest.raises(AccessDenied, match="roles that they do not have"):
            tom.create_token("svc", roles, ["*"], hour)
    tom.create_token("svc", ["client"], ["wdbc"], hour)
    with pytest.raises(ConfigError, match="has other roles or models"):
        tom.create_token("svc", ["client"], ["*"], hour)


def test_what_was_lent_ends_with_what_it_was_lent_from(own):
    project = casemate.open(own)
    admin = project.access
    for name, roles in (("oz", ["operator"]), ("mate", []), ("pal", [])):
        admin.add_user(name, roles, PASSWORD)

    def lend(to):
        project.logins.login("oz", PASSWORD, None)
        admin.delegate(to, "operator", "holiday", datetime.timedelta(days=3))
        project.logins.logout()

    def roles(name):
        return project.point.directory.find("User", name).roles

    lend("mate")
    assert roles("mate") == ("operator",)
    admin.withdraw("oz", "operator")
    assert roles("mate") == ()
    admin.grant("oz", "operator")
    lend("pal")
    admin.disable_user("oz")
    assert roles("pal") == ()


def test_a_person_of_a_provider_is_not_the_user_of_the_machine_of_that_name(own):
    project = casemate.open(own)
    me = project.point.directory.current_user().name
    with project.database.transaction() as tx:
        tx.execute(
            PRINCIPALS.update()
            .where(PRINCIPALS.c.name == me)
            .values(outside="https://login.example.org 1")
        )
    with pytest.raises(AccessDenied, match="not known to this project"):
        project.point.identify()


def test_an_account_is_one_at_a_provider(own):
    for account in (
        "certificate ward-7",
        "https://login.example.org",
        "login.example.org 7",
        "ftp://x y",
    ):
        with pytest.raises(ConfigError, match="no account at a provider"):
            casemate.open(own).access.add_user("x", [], account=account)


def test_names_that_strangers_make_up_do_not_fill_the_catalogue(own):
    project = casemate.open(own)
    for n in range(3):
        with pytest.raises(AccessDenied):
            project.logins.login(f'x{n}"\n', PASSWORD, None)
    refused = {entry.principal for entry in project.log.entries() if entry.action == "access:login"}
    assert refused == {'User::"unknown"'}
