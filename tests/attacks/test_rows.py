"""Whoever can write to the database, and has no keys, gives nobody a right and takes no
limit away.
"""

import datetime

import pytest
import sqlalchemy as sa

import casemate
from casemate.controls.access.identity.principals import current_name
from casemate.controls.federation.rounds import Kept
from casemate.controls.privacy.budget import Limit, Spending, spend
from casemate.core.errors import UnexplainedRow
from casemate.core.store.sqlite import driver
from casemate.core.types.scan import Weakness
from casemate.operations.fsck import examine
from casemate.respond.findings import Part

DAY = datetime.timedelta(days=1)
NOW, LATER = "2026-01-01T00:00:00+00:00", "2099-01-01T00:00:00+00:00"
LIMIT = Limit(1.0, 1e-5)
EVAL = Weakness(
    fingerprint="00" * 32,
    kind="code",
    rule="code.eval",
    severity="medium",
    message="text is run as code",
    scanners=["bandit"],
)


ROUND = Kept(
    charter="d1", job="j1", number=1, question="q1", content="c1", record=b"{}", time=NOW, site=0
)


def arrange(project) -> str:
    """People, a token that was revoked, a session, most of a budget spent; returns the token and
    the session's secret.
    """
    access = project.access
    access.add_user("mallory", ["scientist"], password="correct horse battery")
    access.grant("mallory", "auditor")
    access.withdraw("mallory", "auditor")
    token, identifier = access.create_token("ward", ["client"], ["*"], DAY)
    access.revoke_token(identifier)
    spend(project.engine, project.ledger, spending("one"), LIMIT)
    with project.database.transaction() as tx:
        project.rollouts.promote(tx, "wdbc", 1, "live", 1.0, [], 'User::"ana"', project.clock.now())
        session = project.point.sessions.begin(tx, "mallory", "password")
        project.point.anomalies._found(tx, 'User::"eve"', "impossible-travel", "seen in two places")
        project.federation.approve(tx, "wards", "d1", b"{}", 'User::"ana"')
        project.federation.keep(tx, ROUND)
        part = Part(scanner="bandit", kind="code", answer="found", found=1)
        project.findings_kept.record(tx, 'User::"ana"', [part], [EVAL])
    return f"{token} {session.access}"


def spending(identifier: str, epsilon: float = 0.9) -> Spending:
    return Spending(
        identifier,
        "wdbc",
        "v1",
        "research",
        epsilon,
        1e-6,
        [],
        "run",
        'User::"ana"',
        "training",
        "",
    )


def looks_up(project, _token):
    project.point.directory.find("User", "mallory")


def acts(project, _token):
    project.point.identify()


def decides(project, _token):
    project.point.in_force()


def answers(project, token):
    project.point.tokens.authenticate(token.split()[0])


def goes_on(project, token):
    project.point.sessions.authenticate(token.split()[1])


def logs_in(project, _token):
    project.point.accounts.verify("mallory", "correct horse battery")


def pays(project, _token):
    spend(project.engine, project.ledger, spending("two"), LIMIT)


def serves(project, _token):
    project.rollouts.all()


def changes(project, _token):
    project.access.grant("mallory", "auditor")


def waives(project, _token):
    project.waivers.in_force("wdbc")


def lists_findings(project, _token):
    project.scans.list()


def takes_part(project, _token):
    project.federation.charters()


def was_asked(project, _token):
    with project.database.reading() as tx:
        project.federation.earlier(tx, "d1", "j1", 1, "q1", 0)


def looks_again(project, _token):
    project.point.directory.epoch()


def is_at_risk(project, _token):
    project.point.anomalies.risk('User::"eve"')


ME = current_name()
ATTACKS = {
    "a user becomes owner": (
        "principal",
        looks_up,
        "UPDATE principal SET roles = '[\"owner\"]' WHERE name = 'mallory'",
    ),
    "a new owner appears": (
        "principal",
        changes,
        (
            "INSERT INTO principal (kind, name, roles, models, created) VALUES ('User', 'eve',"
            f" '[\"owner\"]', '[]', '{NOW}')"
        ),
    ),
    "a role that was withdrawn comes back": (
        "principal",
        looks_up,
        "UPDATE principal SET roles = '[\"auditor\", \"scientist\"]' WHERE name = 'mallory'",
    ),
    "a role is lent": (
        "role_grant",
        looks_up,
        (
            'INSERT INTO role_grant (id, name, role, why, reason, "by", since, until) VALUES'
            f" ('x', 'mallory', 'owner', 'delegation', 'r', '{ME}', '{NOW}', '{LATER}')"
        ),
    ),
    "a role comes to include owner": (
        "role",
        decides,
        "INSERT INTO role (name, includes) VALUES ('scientist2', '[\"owner\"]')",
    ),
    "a revoked token answers again": ("token", answers, "UPDATE token SET revoked = {false}"),
    "a token is for another service": ("token", answers, "UPDATE token SET service = 'admin'"),
    "a session is another person's": ("session", goes_on, f"UPDATE session SET name = '{ME}'"),
    "a session has used a second factor": (
        "session",
        goes_on,
        f"UPDATE session SET mfa = '{LATER}'",
    ),
    "a password is replaced": (
        "account",
        logs_in,
        "UPDATE account SET password = 'x' WHERE name = 'mallory'",
    ),
    "a policy is put in force": (
        "policy_set",
        decides,
        (
            "INSERT INTO policy_set (number, version, texts, \"by\", time) VALUES (99, 'v',"
            f" '{{{{}}}}', '{ME}', '{NOW}')"
        ),
    ),
    "a policy is taken back": ("policy_set", decides, "DELETE FROM policy_set"),
    "a spent budget is given back": ("spending", pays, "DELETE FROM spending"),
    "a spending shrinks": ("spending", pays, "UPDATE spending SET epsilon = 0.0001"),
    "a payment is forged as made": (
        "spending",
        pays,
        (
            "INSERT INTO spending (id, dataset, version, purpose, epsilon, delta, events, run,"
            " principal, what, time) VALUES ('two', 'wdbc', 'v1', 'research', 0, 0, '[]', 'run',"
            f" 'x', 'x', '{NOW}')"
        ),
    ),
    "another version goes live": ("model_release", serves, "UPDATE model_release SET version = 2"),
    "what is live is taken back": ("model_release", serves, "DELETE FROM model_release"),
    "a waiver appears": (
        "waiver",
        waives,
        (
            "INSERT INTO waiver (model, gate, since, until, principal, statement) VALUES ('wdbc',"
            f" 'accuracy', '{NOW}', '{LATER}', 'x', '')"
        ),
    ),
    "a finding is taken away": (
        "scan_finding",
        lists_findings,
        "DELETE FROM scan_finding",
    ),
    "a scan could look after all": (
        "scan",
        lists_findings,
        "UPDATE scan SET content = '[]'",
    ),
    "processes that run hear of no change": (
        "access_epoch",
        looks_again,
        "UPDATE access_epoch SET number = number - 1",
    ),
    "what somebody was found at is forgotten": (
        "access_finding",
        is_at_risk,
        "DELETE FROM access_finding",
    ),
    "somebody else's charter counts": (
        "federation",
        takes_part,
        "UPDATE federation SET digest = 'd2', content = '[]'",
    ),
    "a round that was answered is forgotten": (
        "federation_round",
        was_asked,
        "DELETE FROM federation_round",
    ),
    "a round was answered otherwise": (
        "federation_round",
        was_asked,
        "UPDATE federation_round SET record = '[]'",
    ),
    "what somebody was found at counts less": (
        "access_finding",
        is_at_risk,
        "UPDATE access_finding SET risk = 0",
    ),
    "the user of this machine loses the second factor": (
        "factor",
        acts,
        (
            "INSERT INTO factor (id, name, kind, secret, counter, confirmed, tries) VALUES ('x',"
            f" '{ME}', 'totp', '', 0, '{NOW}', '[]')"
        ),
    ),
}


@pytest.fixture(scope="module")
def prepared(home, tmp_path_factory):
    """A project where something happened; tests copy it."""
    from casemate.operations import scaffold

    root = tmp_path_factory.mktemp("rows") / "project"
    scaffold.create(root, scaffold.clinical())
    return root, arrange(casemate.open(root))


@pytest.fixture
def arranged(prepared, tmp_path):
    import shutil

    shutil.copytree(prepared[0], tmp_path / "project")
    return tmp_path / "project", prepared[1]


def sql(root, *statements):
    connection = driver.connect(root / ".casemate" / "catalog.db")
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def require_refused_and_named(project, token, attack):
    table, use, _ = ATTACKS[attack]
    with pytest.raises(UnexplainedRow, match=f"table {table} "):
        use(project, token)
    damage = examine(project).damage
    assert [one.subject for one in damage] == [f"table {table}"] * len(damage) != []


def test_what_casemate_did_itself_is_explained(arranged):
    root, token = arranged
    project = casemate.open(root)
    for _, use, _ in ATTACKS.values():
        if use not in (answers, pays, logs_in):
            use(project, token)
    project.point.accounts.verify("mallory", "correct horse battery")
    spend(project.engine, project.ledger, spending("three", 0.05), LIMIT)
    assert examine(project).outcome == "intact"


@pytest.mark.parametrize("attack", ATTACKS)
def test_sql_that_gives_a_right_is_refused_at_use_and_named(arranged, attack):
    root, token = arranged
    sql(root, ATTACKS[attack][2].format(false=0))
    require_refused_and_named(casemate.open(root), token, attack)


def test_what_sql_did_is_not_laundered_by_the_next_change_and_holds_again_once_it_is_undone(
    arranged,
):
    root, _ = arranged
    sql(root, "UPDATE principal SET roles = '[\"owner\"]' WHERE name = 'mallory'")
    project = casemate.open(root)
    with pytest.raises(UnexplainedRow), project.database.transaction() as tx:
        project.point.directory.add(tx, "bea", ["scientist"])
    sql(root, "UPDATE principal SET roles = '[\"scientist\"]' WHERE name = 'mallory'")
    project.access.add_user("bea", ["scientist"])
    assert examine(project).outcome == "intact"


def test_a_process_that_knows_a_row_sees_within_a_second_that_an_old_state_came_back(
    arranged, monkeypatch
):
    root, _ = arranged
    project = casemate.open(root)
    token, identifier = project.access.create_token("lab", ["client"], ["*"], DAY)
    project.point.tokens.authenticate(token)
    casemate.open(root).access.revoke_token(identifier)
    sql(root, "UPDATE token SET revoked = 0")
    monkeypatch.setattr("casemate.core.store.rowdigests.KNOWN_SECONDS", 0.0)
    with pytest.raises(UnexplainedRow):
        project.point.tokens.authenticate(token)


def test_digests_that_were_made_to_fit_do_not_fit_the_log(arranged):
    root, token = arranged
    sql(root, "UPDATE principal SET roles = '[\"owner\"]' WHERE name = 'mallory'")
    project = casemate.open(root)
    from casemate.controls.access.identity.registered import PRINCIPALS
    from casemate.core.store.rowcontent import blob, digest_of, rows_in

    with project.database.reading() as tx:
        rows = rows_in(tx, PRINCIPALS, None)[0]["principal", "[]"]
    with driver.connect(root / ".casemate" / "catalog.db") as connection:
        connection.execute(
            "UPDATE row_digest SET rows = ?, digest = ? WHERE name = 'principal'",
            (blob(rows), digest_of(rows)),
        )
    with pytest.raises(UnexplainedRow, match="row_digest is not what the audit log says"):
        looks_up(casemate.open(root), token)
    assert "row_digest" in examine(casemate.open(root)).damage[0].state


def test_rows_and_digests_of_an_earlier_day_do_not_fit_the_log_of_today(arranged):
    root, token = arranged
    with driver.connect(root / ".casemate" / "catalog.db") as connection:
        before = {
            name: connection.execute(f"SELECT * FROM {name}").fetchall()
            for name in ("row_digest", "spending")
        }
        head = connection.execute("SELECT rows FROM audit_head").fetchone()
    project = casemate.open(root)
    spend(project.engine, project.ledger, spending("late", 0.05), LIMIT)
    with driver.connect(root / ".casemate" / "catalog.db") as connection:
        for name, rows in before.items():
            connection.execute(f"DELETE FROM {name}")
            connection.executemany(
                f"INSERT INTO {name} VALUES ({', '.join('?' * len(rows[0]))})", rows
            )
    with pytest.raises(UnexplainedRow, match="row_digest is not what"):
        pays(casemate.open(root), token)
    sql(root, f"UPDATE audit_head SET rows = '{head[0]}'")
    with pytest.raises(casemate.Error, match="head of the audit log was changed"):
        pays(casemate.open(root), token)


LATER = (
    *("alert", "incident", "incident_line", "incident_mute"),
    *("feedback", "retraining", "ticket", "ticket_comment", "tracker_fault"),
    *("hold", "playbook", "playbook_run"),
    *("subject_version", "subject_rows", "consent", "request", "request_line"),
    *("erasure", "person_alias", "prediction_subject"),
    *("scan", "scan_finding", "federation", "federation_round"),
)
"""Tables of migrations behind the one that bound rows."""


def older(root):
    """Make a catalogue what it was before rows were bound: nobody can forge that without the audit
    keys, so the log must be that old too.
    """
    sql(
        root,
        *(f"DROP TABLE {name}" for name in LATER),
        "DROP TABLE row_digest",
        "DROP TABLE backup_recipient",
        "DROP TABLE signer_compromise",
        "ALTER TABLE audit_head DROP COLUMN rows",
        "ALTER TABLE step DROP COLUMN principal",
        "UPDATE alembic_version SET version_num = '0006'",
    )


def test_an_upgrade_does_not_take_over_rows_anew_that_the_log_knows(arranged, cli):
    root, token = arranged
    sql(root, "UPDATE principal SET roles = '[\"owner\"]' WHERE name = 'mallory'")
    older(root)
    assert cli("store", "upgrade", "--config", root).code == 4
    with pytest.raises(casemate.Error):
        looks_up(casemate.open(root), token)


def test_every_table_that_names_somebody_is_bound_or_is_known_to_give_no_right():
    from casemate.core.store import METADATA
    from casemate.core.store.rowcontent import tables

    free = {
        "access_count": "counts denials",
        "access_seen": "where somebody was seen",
        "alert": "what was told and how often; what came of it is in the log",
        "audit_entry": "the log itself",
        "audit_head": "the log itself",
        "audit_key": "sealed by the key store",
        "challenge": "worth nothing without its answer",
        "decision_group": "the log commits to it",
        "decision_outcome": "finds an entry of the log",
        "feedback": "the log has who told what",
        "incident": "folded from the log, and compared with it",
        "incident_line": "points at entries of the log",
        "outbox": "messages that wait",
        "prediction_subject": "an index of what is sealed, held against it: it opens nothing",
        "request": "folded from the log, and compared with it",
        "request_line": "points at entries of the log",
        "row_digest": "the digests themselves",
        "run": "the log has each of its steps",
        "serving_use": "counts calls",
        "subject_key": "sealed by the key store",
        "subject_rows": "an index of what is sealed: it opens nothing",
        "subject_version": "an index of what is sealed: it opens nothing",
        "ticket": "where tickets are, what was written there, and how far they were read",
        "ticket_comment": "the log has a digest of those that came together",
        "tracker_fault": "why a tracker could not be read",
    }
    assert {table.name for table in METADATA.sorted_tables} - {
        table.name for table in tables()
    } == set(free)


def test_every_way_to_ask_for_a_bound_row_is_checked(arranged):
    """Whatever the statement looks like."""
    root, _ = arranged
    sql(root, "UPDATE principal SET roles = '[\"owner\"]' WHERE name = 'mallory'")
    project = casemate.open(root)
    from casemate.controls.access.identity.grants import GRANTS
    from casemate.controls.access.identity.registered import PRINCIPALS

    inner = sa.select(PRINCIPALS.c.name).subquery()
    for query in (
        sa.select(PRINCIPALS.c.name),
        sa.select(sa.func.count()).select_from(PRINCIPALS),
        sa.select(inner.c.name),
        sa.select(GRANTS.c.id).join(PRINCIPALS, PRINCIPALS.c.name == GRANTS.c.name),
        sa.select(PRINCIPALS.c.name).union(sa.select(GRANTS.c.name)),
        sa.select(GRANTS.c.id).where(GRANTS.c.name.in_(sa.select(PRINCIPALS.c.name))),
        sa.select(sa.exists().where(PRINCIPALS.c.name == "mallory")),
    ):
        with pytest.raises(UnexplainedRow), project.database.reading() as tx:
            tx.execute(query)


CODE = {
    "a trigger adds an owner when somebody is added": (
        (
            "CREATE TRIGGER more AFTER INSERT ON principal BEGIN UPDATE principal SET roles ="
            " '[\"owner\"]' WHERE name = 'mallory'; END"
        ),
    ),
    "a trigger takes a revocation back": (
        (
            "CREATE TRIGGER more AFTER UPDATE ON token BEGIN UPDATE token SET revoked = 0 WHERE"
            " revoked; END"
        ),
    ),
    "a view tells one query this and the next one that": (
        "ALTER TABLE principal RENAME TO people",
        (
            "CREATE VIEW principal AS SELECT kind, name, CASE WHEN abs(random()) % 2 THEN roles"
            " ELSE '[\"owner\"]' END AS roles, models, created, disabled, outside FROM people"
        ),
    ),
}


@pytest.mark.parametrize("attack", CODE)
def test_code_in_the_database_makes_casemate_write_nothing_and_see_nothing_else(arranged, attack):
    root, _ = arranged
    _token, identifier = casemate.open(root).access.create_token("lab", ["client"], ["*"], DAY)
    sql(root, *CODE[attack])
    project = casemate.open(root)
    for change in (
        lambda: project.access.add_user("bea", ["scientist"]),
        lambda: project.access.revoke_token(identifier),
    ):
        with pytest.raises(
            UnexplainedRow,
            match="database holds what casemate did not make: (trigger more|view principal)",
        ):
            change()
    assert any("did not make" in one.state for one in examine(project).damage)


def test_a_step_that_somebody_wrote_into_the_catalogue_is_taken_for_done_by_no_run(own):
    """Else a model is signed by an assessment that no gate has seen."""
    from casemate.core.digest import sha256
    from casemate.core.types import Assessment

    project = casemate.open(own)
    run = project.engine.runs()[0].id
    content = project.engine.record(run, "assess", Assessment).to_json().replace(b"0.9", b"1.0")
    project.database.close()
    with driver.connect(own / ".casemate" / "catalog.db") as connection:
        connection.execute(
            "UPDATE step SET record = ?, digest = ? WHERE name = 'assess'",
            (content, sha256(content)),
        )
        connection.execute("UPDATE run SET state = 'failed'")
        connection.execute("DELETE FROM step WHERE name = 'release'")
    project = casemate.open(own)
    with pytest.raises(UnexplainedRow, match="table step"):
        project.run()
    with pytest.raises(UnexplainedRow, match="table step"):
        project.engine.record(run, "assess", Assessment)
    assert "table step" in {one.subject for one in examine(project).damage}
