"""What a project can be asked for, from any face: every operation asks policy, and a refusal is on
record.
"""

import ast
import datetime
import os
import shutil
import threading
from pathlib import Path

import pytest

import casemate
from casemate.cli.commands import COMMANDS, registry
from casemate.config import KeysTable
from casemate.controls.access.explain import Expectation
from casemate.controls.access.policy import actions
from casemate.controls.keys.sealedfile import Opener
from casemate.core.errors import AccessDenied, ConfigError
from casemate.core.types import SealedDataset
from casemate.operations import backup, dataset, gateways, models, store
from casemate.operations.acting import Operation
from casemate.operations.deployments.clusters import Place
from casemate.operations.incidents import handling
from casemate.operations.keys import custody, rotation
from casemate.serve import explain

PASSWORD = "four or five words"
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
QUESTION = Expectation(principal="root", action="run:read", allow=True)


def data(at):
    """The data set itself; who may not list it has it from somebody else."""
    found = at.engine.record(at.engine.runs()[0].id, "data", SealedDataset)
    return dataset.Dataset(at, found)


CALLS = {
    "access.logins.add_factor": None,
    "access.logins.confirm_factor": None,
    "access.logins.factors": None,
    "access.logins.whoami": None,
    "access.logins.end_session": lambda at, _: at.access.end_session("x"),
    "access.logins.remove_factors": lambda at, _: at.access.remove_factors("x"),
    "access.logins.sessions": lambda at, _: at.access.sessions(),
    "access.machines.add_service": lambda at, _: at.access.add_service("x", ["client"], ["*"]),
    "access.machines.create_token": lambda at, _: at.access.create_token(
        "x", ["client"], ["*"], DAY
    ),
    "access.machines.remove_service": lambda at, _: at.access.remove_service("x"),
    "access.machines.revoke_token": lambda at, _: at.access.revoke_token("x"),
    "access.machines.services": lambda at, _: at.access.services(),
    "access.machines.tokens": lambda at, _: at.access.tokens(),
    "access.people.add_user": lambda at, _: at.access.add_user("x", []),
    "access.people.break_glass": lambda at, _: at.access.break_glass("r", DAY / 24),
    "access.people.define_role": lambda at, _: at.access.define_role("x", ["auditor"]),
    "access.people.delegate": lambda at, _: at.access.delegate("x", "owner", "r", DAY),
    "access.people.disable_user": lambda at, _: at.access.disable_user("x"),
    "access.people.grant": lambda at, _: at.access.grant("x", "owner"),
    "access.people.listing": lambda at, _: at.access.list(),
    "access.people.roles": lambda at, _: at.access.roles(),
    "access.people.set_password": lambda at, _: at.access.set_password("root2", PASSWORD),
    "access.people.withdraw": lambda at, _: at.access.withdraw("x", "owner"),
    "access.policies.apply": lambda at, _: at.access.apply_policies(),
    "access.policies.explain": lambda at, _: at.access.explain(QUESTION),
    "access.policies.history": lambda at, _: at.access.policy_history(),
    "access.policies.show": lambda at, _: at.access.show_policies(),
    "access.policies.test": lambda at, _: at.access.test_policies(Path("x")),
    "access.policies.who_can": lambda at, _: at.access.who_can(QUESTION),
    "access.review.close_finding": lambda at, _: at.access.close_finding("x", "r"),
    "access.review.close_review": lambda at, _: at.access.close_review("x", "r"),
    "access.review.findings": lambda at, _: at.access.findings(),
    "access.review.report": lambda at, _: at.access.review(),
    "audit.copy": lambda at, _: at.audit.copy(),
    "audit.cosign": lambda at, _: at.audit.cosign(),
    "audit.entries": lambda at, _: at.audit.entries(),
    "audit.prove": lambda at, out: at.audit.prove(1, out),
    "audit.resolve": lambda at, _: at.audit.resolve("r"),
    "audit.since": lambda at, _: at.audit.since(0),
    "audit.verify": lambda at, _: at.audit.verify(),
    "backup.recipients.add_recipient": lambda at, _: at.backups.add_recipient(
        "x", passphrase=PASSWORD
    ),
    "backup.creation.create": lambda at, out: at.backups.create(out),
    "backup.recipients.receivers": lambda at, _: at.backups.recipients(),
    "backup.recipients.remove_recipient": lambda at, _: at.backups.remove_recipient("me"),
    "backup.subjects.restore_subjects": lambda at, out: at.backups.restore_subjects(
        out, Opener(PASSWORD)
    ),
    "checkup.assess": lambda at, _: at.assess("wdbc"),
    "checkup.assess_data": lambda at, _: at.check(),
    "checkup.import_model": lambda at, out: at.import_model(out),
    "bills.verbs.export": lambda at, out: at.bills.export("wdbc", out),
    "bills.verbs.show": lambda at, _: at.bills.show("wdbc"),
    "drills.playing.drill": lambda at, _: at.drills.play(),
    "drills.playing.listing": lambda at, _: at.drills.list(),
    "controls.packing.pack": lambda at, out: at.controls.pack(out),
    "controls.verbs.check": lambda at, _: at.controls.check(),
    "controls.verbs.listing": lambda at, _: at.controls.list(),
    "controls.verbs.show": lambda at, _: at.controls.show("log.verifies"),
    "scans.advisories.add": lambda at, out: at.scans.advisories.add(out),
    "scans.advisories.show": lambda at, _: at.scans.advisories.show(),
    "scans.advisories.sign": lambda at, out: at.scans.advisories.sign(out),
    "scans.looking.scan": lambda at, _: at.scans.scan(["code"]),
    "scans.plans.plan": lambda at, out: at.scans.plan(out, "https://gateway.example.org"),
    "scans.reports.add": lambda at, out: at.scans.add(out, "zap"),
    "scans.reports.ask_sonar": lambda at, _: at.scans.ask_sonar(),
    "scans.verbs.export": lambda at, out: at.scans.export(out, "sarif"),
    "scans.verbs.listing": lambda at, _: at.scans.list(),
    "scans.verbs.show": lambda at, _: at.scans.show("000000"),
    "scans.verbs.unwaive": lambda at, _: at.scans.unwaive("000000"),
    "scans.verbs.waive": lambda at, _: at.scans.waive("000000", NOW, "r"),
    "dataset.Dataset.batches": lambda at, _: list(data(at).batches()),
    "dataset.Dataset.losses": lambda at, _: data(at).losses([1]),
    "dataset.Dataset.noisy": lambda at, _: data(at).noisy("mean radius", 0.1),
    "dataset.Dataset.review": lambda at, _: data(at).review([1], "released", "r"),
    "dataset.Dataset.show": lambda at, _: data(at).show(),
    "dataset.Dataset.suspects": lambda at, _: data(at).suspects(),
    "dataset.Dataset.to_arrow": lambda at, _: data(at).to_arrow(),
    "dataset.Datasets.all": lambda at, _: at.datasets["wdbc"],
    "deployments.clusters.apply": lambda at, out: at.deployments.apply(out, Place()),
    "deployments.endpoints.apply_endpoint": lambda at, out: at.deployments.apply_endpoint(out),
    "deployments.endpoints.drift_endpoint": lambda at, out: at.deployments.drift_endpoint(out),
    "deployments.clusters.drift": lambda at, out: at.deployments.drift(out, Place()),
    "deployments.clusters.running": lambda at, out: at.deployments.running(out, Place()),
    "federated.agreeing.approve": lambda at, _: at.federated.approve(b"{}"),
    "federated.agreeing.card": lambda at, _: at.federated.card(),
    "federated.agreeing.charters": lambda at, _: at.federated.charters(),
    "federated.agreeing.code": lambda at, _: at.federated.code(),
    "federated.agreeing.found": lambda at, _: at.federated.found("x", url="x", sites=[]),
    "federated.agreeing.leave": lambda at, _: at.federated.leave("x"),
    "federated.attesting.attest": lambda at, _: at.federated.attest("x", Path("x")),
    "federated.joining.join": lambda at, _: at.federated.join("x"),
    "federated.leading.lead": lambda at, _: at.federated.lead("x"),
    "federated.recording.export": lambda at, _: at.federated.export("x"),
    "federated.recording.rounds": lambda at, _: at.federated.rounds("x"),
    "federated.simulating.simulate": lambda at, _: at.federated.simulate(),
    "feedback.adding.add": lambda at, _: at.feedback.add({"x": "1"}),
    "feedback.kept.listing": lambda at, _: at.feedback.list(),
    "feedback.kept.show": lambda at, _: at.feedback.show("x"),
    "feedback.kept.sources": lambda at, _: at.feedback.sources(),
    "feedback.screening.screen": lambda at, _: at.feedback.screen(),
    "fsck.examine": lambda at, _: at.examine(),
    "gateways.begin": lambda at, _: gateways.begin(at, 1),
    "access.logins.end_sessions": lambda at, _: at.access.end_sessions("x", "r"),
    "access.people.resume": lambda at, _: at.access.resume('User::"x"', "r"),
    "access.people.suspend": lambda at, _: at.access.suspend('User::"x"', "r"),
    "demands.demand": lambda at, _: at.retrain.demand("r"),
    "holds.lift": lambda at, _: at.holds.lift("releases", "wdbc", "r"),
    "holds.listing": lambda at, _: at.holds.list(),
    "holds.place": lambda at, _: at.holds.place("releases", "wdbc", "r"),
    "incidents.handling.acknowledge": lambda at, _: at.incidents.acknowledge(1),
    "incidents.handling.assign": lambda at, _: at.incidents.assign(1, "x"),
    "incidents.handling.close": lambda at, _: at.incidents.close(1),
    "incidents.handling.contain": lambda at, _: at.incidents.contain(1),
    "incidents.handling.grade": lambda at, _: at.incidents.grade(1, "low"),
    "incidents.erasing.erase": lambda at, _: at.incidents.erase(1),
    "incidents.handling.merge": lambda at, _: at.incidents.merge(1, 2),
    "incidents.handling.mute": lambda at, _: at.incidents.mute(NOW, NOW + DAY, {"name": "x"}, "r"),
    "incidents.handling.note": lambda at, _: at.incidents.note(1, "t"),
    "incidents.handling.recover": lambda at, _: at.incidents.recover(1),
    "incidents.handling.reopen": lambda at, _: at.incidents.reopen(1, "r"),
    "incidents.handling.report": lambda at, _: at.incidents.report(b"{}"),
    "incidents.handling.review": lambda at, _: at.incidents.review(1, "t"),
    "incidents.handling.open_ticket": lambda at, _: handling.open_ticket(at, 1, "desk"),
    "incidents.handling.tell": lambda at, _: handling.tell(at, "k", "t", "w"),
    "incidents.looking.alerts": lambda at, _: at.incidents.alerts(),
    "incidents.looking.draft": lambda at, _: at.incidents.draft(1),
    "incidents.looking.export": lambda at, _: at.incidents.export(1),
    "incidents.looking.listing": lambda at, _: at.incidents.list(),
    "incidents.looking.show": lambda at, _: at.incidents.show(1),
    "keys.custody.issue": lambda at, out: at.keys.issue("server", ["localhost"], 1, "p256", out),
    "keys.custody.protect": lambda at, _: at.keys.protect("env:HOME"),
    "keys.custody.renew": lambda at, out: at.keys.renew(out),
    "keys.custody.revoke": lambda at, _: at.keys.revoke("1"),
    "keys.custody.save": lambda at, out: at.keys.save(out, PASSWORD),
    "keys.erasure.erase": lambda at, _: at.keys.erase(
        lambda: pytest.fail("asked for the identifier")
    ),
    "keys.looking.certificates": lambda at, _: at.keys.certificates(),
    "keys.looking.listing": lambda at, _: at.keys.list(),
    "keys.looking.revocations": lambda at, out: at.keys.revocations(out),
    "keys.looking.show": lambda at, _: at.keys.show("objects"),
    "keys.looking.signers": lambda at, _: at.keys.signers(),
    "keys.rotation.destroy": lambda at, _: at.keys.destroy("objects", 1),
    "keys.rotation.disable": lambda at, _: at.keys.disable("objects", 1),
    "keys.rotation.distrust": lambda at, _: at.keys.distrust(1, NOW),
    "keys.rotation.enable": lambda at, _: at.keys.enable("objects", 1),
    "keys.rotation.migrate": lambda at, _: at.keys.migrate(
        KeysTable(provider="vault", address="https://127.0.0.1:9")
    ),
    "keys.rotation.new_signer": lambda at, _: at.keys.new_signer(),
    "keys.rotation.rotate": lambda at, _: at.keys.rotate(["objects"]),
    "logs.verbs.after": lambda at, _: at.logs.after(),
    "logs.verbs.erase": lambda at, _: at.logs.erase("zebra"),
    "logs.verbs.search": lambda at, _: at.logs.search("zebra"),
    "logs.verbs.sql": lambda at, _: at.logs.sql("select 1"),
    "logs.verbs.stats": lambda at, _: at.logs.stats("code"),
    "images.attest": lambda at, _: at.images.attest("x", "0" * 64, {}),
    "images.write": lambda at, out: at.images.write("wdbc", out),
    "images.withdrawn": lambda at, out: at.images.withdrawn(out),
    "models.approve": lambda at, _: at.models.approve("wdbc", "r"),
    "models.export": lambda at, out: at.models.export("wdbc", out),
    "models.get": lambda at, _: at.models["wdbc"],
    "models.listing": lambda at, _: list(at.models),
    "models.promote": lambda at, _: at.models.promote("wdbc"),
    "models.rollback": lambda at, _: at.models.rollback("wdbc"),
    "models.show": lambda at, _: at.models.show("wdbc"),
    "models.unwaive": lambda at, _: at.models.unwaive("roc_auc"),
    "models.verify": lambda at, _: at.models.verify("wdbc"),
    "models.waive": lambda at, _: at.models.waive("roc_auc", NOW + 400 * DAY, "r"),
    "outbox.deliver": lambda at, _: at.messages.deliver(),
    "outbox.listing": lambda at, _: at.messages.list(),
    "outbox.show": lambda at, _: at.messages.show(1),
    "privacy.budget": lambda at, _: at.privacy.budget(),
    "rights.affected.affected": lambda at, _: at.privacy.affected("x"),
    "rights.requests.begin": lambda at, _: at.privacy.requests.begin("x", "access"),
    "rights.requests.listing": lambda at, _: at.privacy.requests.list(),
    "rights.requests.show": lambda at, _: at.privacy.requests.show(1),
    "rights.requests.decide": lambda at, _: at.privacy.requests.decide(1, "grant"),
    "rights.requests.decide_model": lambda at, _: at.privacy.requests.decide_model(
        1, "keep", "wdbc@1", reason="r"
    ),
    "persons.alias": lambda at, _: at.privacy.alias("x", "y"),
    "rights.erase.erase": lambda at, _: at.privacy.erase("x"),
    "rights.certificates.certificate": lambda at, out: at.privacy.requests.certificate(1, out),
    "rights.fulfilment.fulfil_due": lambda at, _: at.privacy.requests.fulfil_due(),
    "rights.fulfilment.fulfil": lambda at, _: at.privacy.requests.fulfil(1),
    "rights.restricted.restricted": lambda at, _: at.privacy.requests.restricted("wdbc"),
    "rights.records.writing.listing": lambda at, _: at.privacy.records.list(),
    "rights.records.writing.show": lambda at, _: at.privacy.records.show("dpia"),
    "rights.records.writing.write": lambda at, out: at.privacy.records.write(["dpia"], out),
    "rights.records.writing.verify": lambda at, out: at.privacy.records.verify(out),
    "rights.consent.add": lambda at, out: at.privacy.consent.add(out),
    "rights.consent.show": lambda at, _: at.privacy.consent.show("x"),
    "rights.consent.withdraw": lambda at, _: at.privacy.consent.withdraw("x"),
    "rights.consent.withdrawn": lambda at, _: at.privacy.consent.withdrawn("wdbc"),
    "rights.consent.export": lambda at, out: at.privacy.consent.export(out),
    "terms.plan": lambda at, _: at.privacy.retention.plan(),
    "terms.apply": lambda at, _: at.privacy.retention.apply(),
    "retention.collect": lambda at, _: at.collect(apply=True),
    "models.take_back": lambda at, _: at.models.take_back("wdbc@1", "r"),
    "playbooks.carrying.listing": lambda at, _: at.playbooks.runs(),
    "playbooks.carrying.resume": lambda at, _: at.playbooks.resume(),
    "playbooks.carrying.run": lambda at, _: at.playbooks.run("x", 1),
    "playbooks.deciding.approve": lambda at, _: at.playbooks.approve(1, "x", "r"),
    "playbooks.deciding.undo": lambda at, _: at.playbooks.undo(1, reason="r"),
    "playbooks.forces.apply": lambda at, _: at.playbooks.apply(),
    "playbooks.forces.check": lambda at, _: at.playbooks.check(),
    "playbooks.forces.listing": lambda at, _: at.playbooks.list(),
    "playbooks.forces.show": lambda at, _: at.playbooks.show("x"),
    "playbooks.planning.plan": lambda at, _: at.playbooks.plan("x", 1),
    "retraining.planning.listing": lambda at, _: at.retrain.list(),
    "retraining.planning.plan": lambda at, _: at.retrain.plan(),
    "retraining.running.go_on": lambda at, _: at.retrain.go_on("r"),
    "retraining.running.run": lambda at, _: at.retrain.run(),
    "results.export": lambda at, tmp: at.runs.export(tmp / "results", "x"),
    "runs.cancel": lambda at, _: at.runs.cancel("x"),
    "runs.listing": lambda at, _: at.runs.list(),
    "runs.run": lambda at, _: at.run(),
    "runs.show": lambda at, _: at.runs.show("x"),
    "runs.words": None,
    "serve.explain.explain": lambda at, _: explain.explain(at, "x"),
    "serve.explain.newest": lambda at, _: explain.newest(at, 1),
    "status.status": lambda at, _: at.status(),
    "store.move": lambda at, _: at.store.move("postgresql://u@127.0.0.1:1/d", None),
    "sinks.check": lambda at, _: at.sinks.check(),
    "sinks.send": lambda at, _: at.sinks.send(),
    "sinks.status": lambda at, _: at.sinks.status(),
    "store.move_objects": lambda at, _: at.store.move_objects({"objects": "s3://b/x"}),
    "store.show": lambda at, _: at.store.show(),
    "store.upgrade": lambda at, _: at.store.upgrade(),
    "trackers.check": lambda at, _: at.trackers.check("desk"),
    "trackers.read": lambda at, _: at.trackers.read(),
    "trackers.listing": lambda at, _: at.trackers.list(),
    "watching.looking.once": lambda at, _: at.watch.once(),
    "watching.looking.report": lambda at, out: at.watch.report(out),
    "watching.looking.show": lambda at, _: at.watch.show(),
}
"""How each is asked for from Python; None: everybody may ask about themselves, or another test does
(test_words).
"""


def test_the_registry_has_every_operation_and_nothing_else_is_asked_for_here():
    assert set(CALLS) == set(registry())


def test_every_operation_asks_for_an_action_that_policies_know_about_that_kind_of_thing():
    for operation in registry().values():
        assert operation.kind in actions()[operation.action], operation
        assert set(operation.also) <= set(actions()), operation


def test_every_command_is_the_face_of_an_operation():
    assert {asked for asked in COMMANDS.values() if asked is not None} <= set(registry())


def test_every_action_of_people_is_one_of_an_operation():
    """The others are what a gateway asks for on behalf of a caller, and rights that an operation
    looks up on its way.
    """
    asked = {action for one in registry().values() for action in (one.action, *one.also)}
    assert set(actions()) - asked == ELSEWHERE


ELSEWHERE = {
    "dataset:read-masked",
    "dataset:read-rows",
    "gateway:read",
    "metrics:read",
    "model:infer",
    "model:infer-aggregate",
    "model:infer-label",
}


def test_an_operation_can_ask_for_nothing_that_it_does_not_declare(own):
    with pytest.raises(TypeError, match=r"keys\.rotation\.rotate does not declare keys:destroy"):
        rotation.rotate.ask(casemate.open(own), also="keys:destroy")


@pytest.fixture(scope="module")
def place(finished, tmp_path_factory):
    """The finished project with `eva`, who has no role; the key store is its own."""
    folder = tmp_path_factory.mktemp("nobody")
    shutil.copytree(Path("~/.config").expanduser(), folder / "home" / ".config")
    shutil.copytree(finished, folder / "p")
    before, os.environ["HOME"] = os.environ["HOME"], str(folder / "home")
    at = casemate.open(folder / "p")
    at.access.add_user("eva", [], PASSWORD)
    yield folder / "p"
    os.environ["HOME"] = before


def secret_of(at, name, password=PASSWORD) -> str:
    """The acting secret of a session, as a browser gets it."""
    with at.database.transaction() as tx:
        return at.point.sessions.begin(tx, name, "password").access


@pytest.fixture(scope="module", params=["logged in on the machine", "by a session of her own"])
def nobody(place, request):
    at = casemate.open(place)
    if request.param == "by a session of her own":
        yield at.acting(secret_of(at, "eva"))
        return
    at.logins.login("eva", PASSWORD, None)
    yield casemate.open(place)
    at.logins.logout()


def kept(at) -> dict[str, bytes]:
    """Every file of keys, settings and evidence; not the log and the catalogue, which say that
    somebody was refused.
    """
    roots = (at.keystore.folder, at.root)
    changing = (at.state / "audit", at.catalog, at.state / "tmp")
    files = (
        path
        for root in roots
        for path in root.rglob("*")
        if path.is_file() and not path.name.startswith("catalog.db")
    )
    return {
        str(path): path.read_bytes()
        for path in files
        if not any(path.is_relative_to(one) for one in changing)
    }


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call is not None])
def test_somebody_without_a_role_gets_through_no_operation(nobody, tmp_path, name):
    action = registry()[name].action
    before, size = kept(nobody), nobody.log.size()
    with pytest.raises(AccessDenied, match=f'User::"eva" may not {action}'):
        CALLS[name](nobody, tmp_path / "out")
    refusals = [(e.principal, e.action) for e in nobody.log.entries(size) if e.outcome == "denied"]
    assert refusals == [('User::"eva"', action)]
    assert not [
        e for e in nobody.log.entries(size) if e.outcome == "done" and e.action != "access:anomaly"
    ]
    assert kept(nobody) == before
    assert list(tmp_path.iterdir()) == []


def test_two_people_act_in_one_process_at_once_and_the_log_tells_them_apart(own):
    at = casemate.open(own)
    at.access.add_user("ana", ["auditor"], PASSWORD)
    at.access.add_user("bea", ["operator"], PASSWORD)
    views = {name: at.acting(secret_of(at, name)) for name in ("ana", "bea")}
    start, faults, size = threading.Barrier(2), [], at.log.size()

    def act(name):
        try:
            start.wait()
            for turn in range(8):
                views[name].access.list() if name == "ana" else views[name].runs.list()
                with pytest.raises(AccessDenied, match=f'User::"{name}" may not keys:rotate'):
                    views[name].keys.rotate(["objects"])
                if name == "ana":
                    assert views[name].audit.entries(last=turn + 1)[1]
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=act, args=(name,)) for name in views]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults, faults
    told = [(e.principal, e.action) for e in at.log.entries(size) if e.outcome == "denied"]
    assert sorted(told) == [
        (f'User::"{name}"', "keys:rotate") for name in ("ana", "bea") for _ in range(8)
    ]
    assert {view.point.actor.uid for view in views.values()} == {'User::"ana"', 'User::"bea"'}
    assert at.point.actor.name not in {"ana", "bea"}


def test_keys_that_one_person_uses_are_recorded_as_hers_while_another_works(own):
    at = casemate.open(own)
    at.access.add_user("ana", ["owner"], PASSWORD)
    view, size = at.acting(secret_of(at, "ana")), at.log.size()
    view.keys.rotate(["objects"])
    used = {e.principal for e in at.log.entries(size) if e.action.startswith(("key:", "keys:"))}
    assert used == {'User::"ana"'}


def test_a_session_that_has_ended_acts_no_more_from_the_next_question_on(own):
    at = casemate.open(own)
    at.access.add_user("ana", ["auditor"], PASSWORD)
    view = at.acting(secret_of(at, "ana"))
    assert view.audit.entries(last=1)[1]
    (session,) = at.access.sessions()
    at.access.end_session(session.id)
    with pytest.raises(AccessDenied, match="the session has ended"):
        view.audit.entries(last=1)


def test_a_view_that_is_closed_leaves_the_project_open(own):
    at = casemate.open(own)
    at.access.add_user("ana", ["auditor"], PASSWORD)
    with at.acting(secret_of(at, "ana")) as view:
        assert view.audit.entries(last=1)[1]
    assert at.audit.entries(last=1)[1]


def test_a_catalogue_in_use_is_not_set_aside(own):
    at = casemate.open(own)
    with pytest.raises(ConfigError, match="was not moved"):
        store.set_aside(at)
    assert at.log.size() == casemate.open(own).log.size()


def test_what_is_permitted_is_recorded_by_the_operation_itself(own, tmp_path):
    at = casemate.open(own)
    size = at.log.size()
    backup.add_recipient(at, "me", passphrase=PASSWORD, keys=True)
    backup.create(at, tmp_path / "b")
    rotation.rotate(at, ["objects"])
    custody.save(at, tmp_path / "keys", PASSWORD)
    serial = custody.issue(at, "server", ["localhost"], 1, "p256", tmp_path / "tls")
    custody.revoke(at, serial)
    rotation.disable(at, "objects", 1)
    rotation.enable(at, "objects", 1)
    done = [
        e.action
        for e in at.log.entries(size)
        if e.outcome == "done" and not e.action.startswith("key:")
    ]
    assert done == [
        "backup:recipient-added",
        "backup:created",
        "keys:rotated",
        "keys:backed-up",
        "certificate:issue",
        "certificate:revoke",
        "keys:disable",
        "keys:enable",
    ]


def test_what_an_operation_did_is_published_by_the_time_it_returns(own):
    """Outsiders read the checkpoint; nobody has to look at the log first."""
    at = casemate.open(own)
    at.access.add_user("ana", ["auditor"], PASSWORD)
    published = (at.log.folder / "checkpoint").read_text().splitlines()[1]
    assert int(published) == at.log.size()


def test_a_compromise_is_asked_for_once_and_told_to_key_store_catalogue_and_log(own):
    at = casemate.open(own)
    first, second = datetime.datetime.now(datetime.UTC) - DAY, datetime.datetime.now(datetime.UTC)
    size = at.log.size()
    rotation.new_signer(at, second)
    at.keys.distrust(1, first)
    told = [
        (e.action, e.outcome)
        for e in at.log.entries(size)
        if e.action.startswith(("keys:", "signer:"))
    ]
    assert told == [
        ("keys:signer", "allowed"),
        ("signer:compromised", "done"),
        ("signer:rotated", "done"),
        ("keys:signer", "allowed"),
        ("signer:compromised", "done"),
    ]
    fingerprint = at.keystore.signers[0].verifier.fingerprint
    assert at.compromises.all() == {fingerprint: first}
    assert at.keystore.signers[0].compromised == first.isoformat()


DECIDES = {"authorise", "permitted", "require", "decide", "ask"}
RECORDS = {"append", "record"}
LOGS = ("log", "audit")


def deciding(folder: Path) -> list[str]:
    """Every place in a face that asks policy or writes an entry."""
    calls = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner, verb = ast.unparse(node.func.value), node.func.attr
            asks = verb in DECIDES and owner.rpartition(".")[2] in {
                "point",
                "access",
                "policy",
                "admission",
                "explain",
            }
            writes = verb in RECORDS and owner.rpartition(".")[2].lstrip("_") in LOGS
            if asks or writes:
                calls.append(f"{path.relative_to(folder)}: {owner}.{verb}")
    return calls


def test_the_command_line_decides_and_records_nothing():
    assert deciding(Path(casemate.__file__).parent / "cli") == []


def test_the_gateway_decides_about_requests_in_its_guard_and_records_them_and_nothing_else():
    """A prediction is no operation of a person: the guard asks about each call, and its group
    commit records it.
    """
    found = {call.partition(":")[0] for call in deciding(Path(casemate.__file__).parent / "serve")}
    assert found == {
        "admission.py",
        "app.py",
        "explain.py",
        "http.py",
        "login.py",
        "refusals.py",
        "watches.py",
    }


def test_operations_say_what_they_ask_for():
    assert isinstance(models.promote, Operation)
    assert repr(models.promote) == "<operation models.promote: model:promote>"
    assert models.promote.__doc__ is not None
