"""Access that is not as usual: what becomes a finding, what does not, and what follows."""

import asyncio

import pytest
import sqlalchemy as sa
from tests.unit.controls.test_access import change, directory  # noqa: F401 - a fixture

import casemate
from casemate.config import PlaceTable
from casemate.controls.access.acting import Identity
from casemate.controls.access.anomalies import KINDS, STORM, USUAL, WINDOW, Anomalies
from casemate.controls.access.identity.principals import current_name
from casemate.controls.access.policy import Resource
from casemate.controls.audit.commit import GroupCommit
from casemate.core.errors import AccessDenied, BackendError, ConfigError, RefusedError
from casemate.serve.admission import Admission
from casemate.serve.health import Health
from casemate.serve.metrics import Metrics
from casemate.serve.model_set import ModelSet
from casemate.serve.parts import GatewayProxy

PLACES = {
    "berlin": PlaceTable(
        networks=["10.1.0.0/16", "2001:db8:1::/48"], latitude=52.52, longitude=13.4
    ),
    "potsdam": PlaceTable(networks=["10.2.0.0/16"], latitude=52.4, longitude=13.06),
    "sydney": PlaceTable(networks=["10.3.0.0/16"], latitude=-33.87, longitude=151.21),
}
ANA = 'User::"ana"'
HOUR = 3600


@pytest.fixture
def watch(directory):  # noqa: F811
    told = []
    made = Anomalies(directory, PLACES, 1000, lambda _, found: told.append(found))
    made.told = told
    return made


def kinds(watch):
    return [found.kind for found in watch.told]


def test_the_first_network_is_nothing_new_and_the_second_one_is(watch):
    for address in ("10.1.2.3", "10.1.2.200", "10.1.2.3"):
        watch.seen(ANA, address)
    assert watch.told == []
    watch.seen(ANA, "10.1.3.1")
    assert [(found.principal, found.kind, found.message) for found in watch.told] == [
        (ANA, "new-network", "first call from the network 10.1.3.0/24")
    ]
    assert (watch.risk(ANA), watch.risk(ANA, at_machine=True), watch.risk('User::"ben"')) == (
        50,
        0,
        0,
    )


def test_a_network_that_was_seen_before_stays_known(watch):
    for _ in range(3):
        for address in ("10.1.2.3", "2001:db8:1::7"):
            watch.seen(ANA, address)
            watch._clock.go(HOUR)
    assert kinds(watch) == ["new-network"]


def test_a_finding_that_could_not_be_recorded_is_made_at_the_next_call(directory):  # noqa: F811
    faults = [BackendError("the outbox takes nothing")] * 2
    told = []

    def tell(_tx, found):
        if faults:
            raise faults.pop()
        told.append(found)

    made = Anomalies(directory, PLACES, 1000, tell)
    made.seen(ANA, "10.1.2.3")
    for _ in range(2):
        with pytest.raises(BackendError):
            made.seen(ANA, "10.2.2.3")
    made.seen(ANA, "10.2.2.3")
    assert [found.kind for found in told] == ["new-network"]
    assert made.risk(ANA) == 50


def test_travel_that_nobody_can_make_stops_everything(watch):
    watch.seen(ANA, "10.1.2.3")
    watch._clock.go(HOUR)
    watch.seen(ANA, "10.3.2.3")
    assert kinds(watch) == ["new-network", "impossible-travel"]
    assert "from berlin to sydney, 16095 km, within 60 minutes" in watch.told[1].message
    assert watch.risk(ANA) == 80


@pytest.mark.parametrize(
    ("address", "hours"), [("10.2.0.1", 0.02), ("10.3.0.1", 24), ("192.0.2.1", 0.02)]
)
def test_travel_that_somebody_can_make_is_none(watch, address, hours):
    watch.seen(ANA, "10.1.2.3")
    watch._clock.go(hours * HOUR)
    watch.seen(ANA, address)
    assert "impossible-travel" not in kinds(watch)


def test_a_finding_counts_for_its_time(watch):
    watch.seen(ANA, "10.1.2.3")
    watch.seen(ANA, "192.0.2.1")
    watch._clock.go(KINDS["new-network"][1].total_seconds())
    assert (watch.risk(ANA), watch.list(), len(watch.list(closed=True))) == (0, [], 1)


@pytest.mark.parametrize("kind", STORM)
def test_a_storm_is_told_once_and_only_within_its_window(watch, kind):
    for _ in range(STORM[kind] - 1):
        watch.count(ANA, kind)
    watch._clock.go(2 * WINDOW)
    watch.count(ANA, kind)
    assert watch.told == []
    watch.count(ANA, kind, STORM[kind])
    watch.count(ANA, kind, STORM[kind])
    assert kinds(watch) == [f"{kind}-storm"]


def test_a_login_after_a_storm_may_be_a_guessed_secret(watch):
    watch.entered(ANA, second_factor=True)
    watch.count(ANA, "failed", STORM["failed"])
    assert watch.risk(ANA) == 0  # strangers who fail cannot lock somebody out
    watch.entered(ANA, second_factor=True)
    assert kinds(watch) == ["failed-storm", "guessed-secret"]
    assert watch.risk(ANA) == 50


def test_strangers_who_fail_cannot_lock_out_somebody_without_a_second_factor(watch):
    watch.count(ANA, "failed", STORM["failed"])
    watch.entered(ANA, second_factor=False)
    assert (kinds(watch), watch.risk(ANA)) == (["failed-storm", "guessed-secret"], 0)


def test_reading_in_bulk_is_measured_by_what_is_usual_for_somebody(watch):
    watch.read(ANA, 1000)
    assert watch.told == []
    watch._clock.go(24 * HOUR)
    watch.read(ANA, 1000 * USUAL)
    assert watch.told == []
    watch.read(ANA, 1)
    assert [(found.kind, found.message) for found in watch.told] == [
        ("bulk-reading", "10001 rows in a day")
    ]
    assert watch.risk(ANA, at_machine=True) == 50


def test_closing_needs_an_open_finding(watch, directory):  # noqa: F811
    watch.seen(ANA, "10.1.2.3")
    watch.seen(ANA, "192.0.2.1")
    (found,) = watch.list()
    change(directory, watch.close, found.id, "ben", "a train")
    assert (watch.risk(ANA), watch.list(), watch.list(closed=True)[0].closed) == (
        0,
        [],
        "ben: a train",
    )
    with pytest.raises(ConfigError, match="no open finding"):
        change(directory, watch.close, found.id, "ben", "again")


# In a project


PASSWORD = "correct horse battery"


@pytest.fixture
def here(fresh, monkeypatch):
    text = (fresh / "casemate.toml").read_text()
    (fresh / "casemate.toml").write_text(
        text + '\n[access]\nposture = "posture"\n[notices.told]\nkind = "folder"\nto = "told"\non ='
        ' ["access:anomaly"]\n'
    )
    (fresh / "posture").write_text("managed\n")
    monkeypatch.chdir(fresh)
    project = casemate.open(fresh)
    yield project
    project.point.session_file.remove()


def logged_in(project, roles=("auditor",)):
    project.access.add_user("ben", list(roles), PASSWORD)
    return project.logins.login("ben", PASSWORD, None)


def test_a_finding_is_in_the_log_and_told_and_ends_sessions_when_it_is_grave(here):
    session = logged_in(here)
    with here.database.transaction() as tx:
        here.point.anomalies._found(tx, 'User::"ben"', "impossible-travel", "from here to there")
    entry = next(
        entry for entry in reversed(list(here.log.entries())) if entry.action == "access:anomaly"
    )
    assert (entry.principal, entry.detail["kind"], entry.detail["risk"]) == (
        'User::"ben"',
        "impossible-travel",
        80,
    )
    with pytest.raises(AccessDenied):
        here.point.identify()
    assert session.id not in {one.id for one in here.point.sessions.live()}
    here.outbox.send()
    assert len(list((here.root / "told").iterdir())) == 1


def test_a_session_ends_when_the_posture_of_the_device_changes(here):
    logged_in(here)
    assert here.point.situation(here.point.identify()).device == "managed"
    (here.root / "posture").write_text("jailbroken\n")
    with pytest.raises(AccessDenied, match="posture changed"):
        here.point.identify()
    (here.root / "posture").write_text("managed\n")
    with pytest.raises(AccessDenied):
        here.point.identify()  # and does not come back
    assert [
        entry.detail["reason"] for entry in here.log.entries() if entry.action == "session:end"
    ] == ["the device's posture changed"]


def test_a_caller_from_elsewhere_has_the_posture_of_the_login_and_not_of_this_machine(here):
    logged_in(here)
    (here.root / "posture").write_text("jailbroken\n")
    session = here.point.sessions.authenticate(here.point.session_file.read().access)
    point = here.point
    assert (
        point.situation(Identity(session.principal, session), network="10.1.2.3").device
        == "managed"
    )
    assert point.situation(Identity(session.principal, None), network="10.1.2.3").device is None


def test_findings_are_listed_and_closed_by_somebody_else(here, cli):
    logged_in(here)
    with here.database.transaction() as tx:
        here.point.anomalies._found(tx, 'User::"ben"', "failed-storm", "12 times failed")
        here.point.anomalies._found(
            tx, f'User::"{current_name()}"', "failed-storm", "13 times failed"
        )
    listed = cli("access", "finding", "list")
    assert (listed.code, "12 times failed" in listed.out) == (1, True)
    mine, theirs = sorted(
        here.point.anomalies.list(), key=lambda found: "ben" not in found.principal
    )
    with pytest.raises(RefusedError, match="somebody else"):
        here.access.close_finding(mine.id, "harmless")
    here.access.close_finding(theirs.id, "a broken script")
    here.logins.logout()
    answer = cli("access", "finding", "close", mine.id, "--reason", "holiday")
    assert answer.code == 0, answer.err
    assert cli("access", "finding", "list").out == "nothing unusual is open\n"
    assert "holiday" in cli("access", "finding", "list", "--all").out
    assert cli("access", "finding", "close", mine.id, "--reason", "holiday").code == 2
    assert cli("access", "finding", "close", "nonsense", "--reason", " ").code == 2


def test_risk_asks_for_a_second_factor_and_is_told_in_the_denial(here):
    logged_in(here)
    with here.database.transaction() as tx:
        here.point.anomalies._found(
            tx, 'User::"ben"', "guessed-secret", "a login after 12 failures"
        )
    with pytest.raises(AccessDenied, match="risk-asks-for-a-second-factor") as refused:
        here.point.permitted("audit:read")
    assert "second factor" in refused.value.hint
    assert here.point.decide("access:self", Resource())[1].allowed


def test_a_gateway_that_cannot_record_a_storm_counts_itself_blind_and_loses_no_denial(
    fresh, monkeypatch
):
    project = casemate.open(fresh)
    audit = GroupCommit(project.log)
    admission = Admission(project.point, audit, None, Health(Metrics()))
    admission._denials[ANA] = STORM["denied"]
    project.point.anomalies.probing('User::"ben"', "not what this is about")

    def full(*_):
        raise sa.exc.IntegrityError("INSERT INTO outbox", None, Exception("duplicate key value"))

    with monkeypatch.context() as patch:
        patch.setattr(project.outbox, "enqueue", full)
        for _ in range(2):
            with pytest.raises(sa.exc.IntegrityError):
                asyncio.run(admission._look())
            admission._denials[ANA] += 1
    asyncio.run(admission._look())
    (found,) = [found for found in project.point.anomalies.list() if found.principal == ANA]
    assert found.message.startswith(f"{STORM['denied'] + 2} times")
    assert not admission._denials
    audit.close()
    project.database.close()


def test_a_model_that_does_not_hold_is_withdrawn_also_when_that_cannot_be_recorded(clinic):
    project, incidents = casemate.open(clinic), []
    faults = [BackendError("the log takes nothing")]

    def incident(*told):
        if faults:
            raise faults.pop()
        incidents.append(told)

    model_set = ModelSet(project, Metrics(), GatewayProxy(), incident, Health(Metrics()))
    model_set.load()
    (served,) = model_set.served.values()
    bundle = project.registry.get(served.live.endpoint.reference).release.bundle
    (path,) = [
        path
        for path in (project.state / "objects" / bundle[:2]).iterdir()
        if path.name == bundle[2:]
    ]
    path.chmod(0o600)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    asyncio.run(model_set.verify())
    assert served.live.endpoint.withdrawn
    with pytest.raises(BackendError):
        asyncio.run(model_set._tell())
    asyncio.run(model_set._tell())
    assert [told[1] for told in incidents] == ["model:withdrawn"]
    project.database.close()


def test_where_somebody_wrote_among_the_compromises_no_model_answers_until_that_is_undone(clinic):
    """Else a row too many hides from a running gateway what is declared afterwards."""
    from casemate.core.store.sqlite import driver

    def written(statement):
        with driver.connect(clinic / ".casemate" / "catalog.db") as connection:
            connection.execute(statement)
        connection.close()
        asyncio.run(model_set._distrust())

    project = casemate.open(clinic)
    model_set = ModelSet(project, Metrics(), GatewayProxy(), lambda *_: None, Health(Metrics()))
    model_set.load()
    (served,) = model_set.served.values()
    written("INSERT INTO signer_compromise VALUES ('x', '2020-01-01T00:00:00+00:00', 0)")
    assert "table signer_compromise" in served.live.endpoint.withdrawn
    written("DELETE FROM signer_compromise")
    assert not served.live.endpoint.withdrawn
    project.database.close()
