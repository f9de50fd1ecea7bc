"""What a project can be asked for from Python: every operation asks policy, and a refusal is on record."""

import datetime
import inspect
from types import FunctionType

import pytest

import casemate
from casemate import backup, checkup, custody, dataset, doctor, erasure, fsck, project, retention, rotation, scaffold
from casemate.config import KeysTable
from casemate.controls.access.admin import Administration
from casemate.controls.keys.sealedfile import Opener
from casemate.core.errors import AccessDenied, ConfigError

PASSWORD = "four or five words"
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
KINDS = (project.Project, project.Model, project.Models, dataset.Dataset, dataset.Datasets, Administration)
MODULES = (backup, checkup, custody, doctor, erasure, fsck, retention, rotation, scaffold)


def data(at):
    """The data set itself; who may not list it has it from somebody else."""
    from casemate.core.types import SealedDataset

    found = at.engine.record(at.engine.runs()[0]["id"], "data", SealedDataset)
    return dataset.Dataset(at, found)


def model(at):
    return project.Model(at, at.registry.get("wdbc"))


OPERATIONS = {
    "backup.add_recipient": ("backup:recipients", lambda at, _: backup.add_recipient(at, "x", passphrase=PASSWORD)),
    "backup.remove_recipient": ("backup:recipients", lambda at, _: backup.remove_recipient(at, "me")),
    "backup.create": ("backup:create", backup.create),
    "backup.restore_subjects": ("backup:restore", lambda at, out: backup.restore_subjects(at, out, Opener(PASSWORD))),
    "checkup.assess": ("run:start", lambda at, _: checkup.assess(at, "wdbc")),
    "checkup.assess_data": ("run:start", lambda at, _: checkup.assess_data(at)),
    "checkup.import_model": ("model:import", checkup.import_model),
    "custody.protect": ("keys:protect", lambda at, _: custody.protect(at, "env:HOME")),
    "custody.save": ("keys:backup", lambda at, out: custody.save(at, out, PASSWORD)),
    "erasure.erase": ("keys:shred", lambda at, _: erasure.erase(at, "ana")),
    "custody.issue": ("certificate:issue", lambda at, out: custody.issue(at, "server", ["localhost"], 1, "p256", out)),
    "custody.renew": ("certificate:issue", custody.renew),
    "custody.revoke": ("certificate:revoke", lambda at, _: custody.revoke(at, "1")),
    "fsck.examine": ("project:check", lambda at, _: fsck.examine(at)),
    "rotation.rotate": ("keys:rotate", lambda at, _: rotation.rotate(at, ["objects"])),
    "rotation.new_signer": ("keys:signer", lambda at, _: rotation.new_signer(at)),
    "rotation.destroy": ("keys:destroy", lambda at, _: rotation.destroy(at, "objects", 1)),
    "rotation.disable": ("keys:disable", lambda at, _: rotation.disable(at, "objects", 1)),
    "rotation.enable": ("keys:enable", lambda at, _: rotation.enable(at, "objects", 1)),
    "rotation.migrate": ("keys:migrate", lambda at, _: rotation.migrate(at, KeysTable(provider="vault", address="https://127.0.0.1:9"))),
    "Project.move_objects": ("store:migrate", lambda at, _: at.move_objects({"objects": "s3://b/x"})),
    "Project.move_store": ("store:migrate", lambda at, _: at.move_store("postgresql://u@127.0.0.1:1/d", None)),
    "Project.upgrade_store": ("store:upgrade", lambda at, _: at.upgrade_store()),
    "Project.resolve_forks": ("audit:resolve", lambda at, _: at.resolve_forks("r")),
    "retention.collect": ("project:clean", lambda at, _: retention.collect(at, apply=True)),
    "Project.rollback": ("model:promote", lambda at, _: at.rollback("wdbc")),
    "Project.declare_compromise": ("keys:signer", lambda at, _: at.declare_compromise(1, NOW)),
    "Project.waive": ("gate:waive", lambda at, _: at.waive("roc_auc", NOW + 400 * DAY, "r")),
    "Project.unwaive": ("gate:waive", lambda at, _: at.unwaive("roc_auc")),
    "Project.cancel": ("run:cancel", lambda at, _: at.cancel("x")),
    "Project.deliver": ("outbox:send", lambda at, _: at.deliver()),
    "Project.run": ("run:start", lambda at, _: at.run()),
    "Project.authorise": ("keys:rotate", lambda at, _: at.authorise("keys:rotate", "Key", "all")),
    "Model.approve": ("model:approve", lambda at, _: model(at).approve("r")),
    "Model.promote": ("model:promote", lambda at, _: model(at).promote()),
    "Model.verify": ("model:read", lambda at, _: model(at).verify()),
    "Model.export": ("model:export", lambda at, out: model(at).export(out)),
    "Models.__getitem__": ("model:list", lambda at, _: at.models["wdbc"]),
    "Models.__iter__": ("model:list", lambda at, _: list(at.models)),
    "Models.__len__": ("model:list", lambda at, _: len(at.models)),
    "Datasets.__getitem__": ("dataset:list", lambda at, _: at.datasets["wdbc"]),
    "Datasets.__iter__": ("dataset:list", lambda at, _: list(at.datasets)),
    "Datasets.__len__": ("dataset:list", lambda at, _: len(at.datasets)),
    "Dataset.to_arrow": ("dataset:read", lambda at, _: data(at).to_arrow()),
    "Dataset.to_pandas": ("dataset:read", lambda at, _: data(at).to_pandas()),
    "Dataset.batches": ("dataset:read", lambda at, _: list(data(at).batches())),
    "Dataset.diff": ("dataset:read", lambda at, _: data(at).diff(data(at))),
    "Dataset.suspects": ("dataset:read", lambda at, _: data(at).suspects()),
    "Dataset.losses": ("dataset:read", lambda at, _: data(at).losses([1])),
    "Dataset.reviewed": ("dataset:read", lambda at, _: data(at).reviewed()),
    "Dataset.review": ("dataset:quarantine", lambda at, _: data(at).review([1], "released", "r")),
    "Dataset.noisy": ("dataset:statistics", lambda at, _: data(at).noisy("mean radius", 0.1)),
    "Administration.add_user": ("access:user", lambda at, _: at.access.admin.add_user("x", [])),
    "Administration.set_password": ("access:user", lambda at, _: at.access.admin.set_password("root2", PASSWORD)),
    "Administration.disable_user": ("access:user", lambda at, _: at.access.admin.disable_user("x")),
    "Administration.define_role": ("access:grant", lambda at, _: at.access.admin.define_role("x", ["auditor"])),
    "Administration.grant": ("access:grant", lambda at, _: at.access.admin.grant("x", "owner")),
    "Administration.withdraw": ("access:grant", lambda at, _: at.access.admin.withdraw("x", "owner")),
    "Administration.delegate": ("access:delegate", lambda at, _: at.access.admin.delegate("x", "owner", "r", DAY)),
    "Administration.break_glass": ("access:break-glass", lambda at, _: at.access.admin.break_glass("r", DAY / 24)),
    "Administration.close_review": ("access:review", lambda at, _: at.access.admin.close_review("x", "r")),
    "Administration.end_session": ("access:session", lambda at, _: at.access.admin.end_session("x")),
    "Administration.add_service": ("access:service", lambda at, _: at.access.admin.add_service("x", ["client"], ["*"])),
    "Administration.close_finding": ("access:review", lambda at, _: at.access.admin.close_finding("x", "r")),
    "Administration.create_token": ("token:create", lambda at, _: at.access.admin.create_token("x", ["client"], ["*"], DAY)),
    "Administration.revoke_token": ("token:revoke", lambda at, _: at.access.admin.revoke_token("x")),
    "Administration.remove_service": ("access:service", lambda at, _: at.access.admin.remove_service("x")),
    "Administration.remove_factors": ("access:user", lambda at, _: at.access.admin.remove_factors("x")),
}
HARMLESS = {
    "backup.keys_of": "names a file",
    "backup.subjects_of": "names a file",
    "backup.read": "takes what opens the backup; touches no project",
    "backup.restore": "decides in the project that comes out of the backup: test_recipients",
    "doctor.examine": "looks at the machine, and at no project",
    "doctor.silence": "looks at this process only",
    "doctor.negotiated": "looks at the machine, and at no project",
    "rotation.uses": "counts wrapped keys",
    "scaffold.clinical": "plans a project",
    "scaffold.from_table": "plans a project",
    "scaffold.create": "makes a project; whoever does is its first owner",
    "scaffold.start": "makes a project; whoever does is its first owner",
    "Project.read_secret": "reads what the caller names and may read anyway",
    "Project.blobs": "opens a place by its settings",
    "Project.canary_failed": "of a gateway; takes a canary back and nothing else, and the log says that casemate did",
    "Project.duties": "two names, of a release that the caller has",
    "Project.require_approved": "refuses or does nothing",
    "Project.bring_up_to_date": "the upgrade, before anybody can be asked; the log says what it adopted",
    "Project.publish_keys": "writes the public keys again",
    "Project.set_aside": "the end of a move of the catalogue, which asks, also when fsck repairs it; one in use stays",
    "Project.words": "asks for each column that the code saw: tests/attacks/test_words.py",
    "Project.reload_signers": "reads the key store again",
    "Project.signer_changed": "reads the key store again",
    "Project.remember_passphrase": "changes casemate.toml, as any editor may",
    "Project.workshop": "what a run works with; `run` asks",
    "Model.approvals": "names of approvers, of a model that the caller has",
    "Dataset.for_purpose": "the same for another purpose; reading asks",
    "Dataset.hears_code": "says what policy would allow",
    "Dataset.access": "says what policy would allow",
    "Administration.add_factor": "one's own login",
    "Administration.confirm_factor": "one's own login",
    "Administration.own_factor": "one's own login",
}


def public() -> set[str]:
    """Every function and method that somebody may call."""
    found = {f"{module.__name__.rpartition('.')[2]}.{name}" for module in MODULES for name, one in vars(module).items() if ours(module, name, one)}
    asked = ("__getitem__", "__iter__", "__len__")
    for kind in KINDS:
        found |= {
            f"{kind.__name__}.{name}" for name, one in vars(kind).items() if isinstance(one, FunctionType) and (name[0] != "_" or name in asked)
        }
    return found


def ours(module, name, one) -> bool:
    return inspect.isfunction(one) and one.__module__ == module.__name__ and not name.startswith("_")


def test_every_public_function_names_its_action_or_says_why_it_needs_none():
    assert public() == OPERATIONS.keys() | HARMLESS.keys()
    assert not OPERATIONS.keys() & HARMLESS.keys()


@pytest.fixture(scope="module")
def nobody(finished, tmp_path_factory):
    """The finished project, opened by somebody who has no role; the key store is its own."""
    import os
    import shutil
    from pathlib import Path

    folder = tmp_path_factory.mktemp("nobody")
    shutil.copytree(Path("~/.config").expanduser(), folder / "home" / ".config")
    shutil.copytree(finished, folder / "p")
    before, os.environ["HOME"] = os.environ["HOME"], str(folder / "home")
    at = casemate.open(folder / "p")
    at.access.admin.add_user("eva", [], PASSWORD)
    at.access.logins.login("eva", PASSWORD, None)
    yield casemate.open(folder / "p")
    os.environ["HOME"] = before


def kept(at) -> dict[str, bytes]:
    """Every file of keys, settings and evidence; not the log and the catalogue, which say that somebody was refused."""
    roots = (at.keys.folder, at.root)
    changing = (at.state / "audit", at.catalog, at.state / "tmp")
    files = (path for root in roots for path in root.rglob("*") if path.is_file() and not path.name.startswith("catalog.db"))
    return {str(path): path.read_bytes() for path in files if not any(path.is_relative_to(one) for one in changing)}


@pytest.mark.parametrize("name", OPERATIONS)
def test_somebody_without_a_role_gets_through_no_operation_from_python(nobody, tmp_path, name):
    action, call = OPERATIONS[name]
    before, size = kept(nobody), nobody.audit.size()
    with pytest.raises(AccessDenied, match=f'User::"eva" may not {action}'):
        call(nobody, tmp_path / "out")
    refusals = [(e.principal, e.action) for e in nobody.audit.entries(size) if e.outcome == "denied"]
    assert refusals == [('User::"eva"', action)]
    assert not [e for e in nobody.audit.entries(size) if e.outcome == "done"]
    assert kept(nobody) == before
    assert list(tmp_path.iterdir()) == []


def test_a_catalogue_in_use_is_not_set_aside(own):
    at = casemate.open(own)
    with pytest.raises(ConfigError, match="was not moved"):
        at.set_aside()
    assert at.audit.size() == casemate.open(own).audit.size()


def test_what_is_permitted_is_recorded_by_the_operation_itself(own, tmp_path):
    at = casemate.open(own)
    size = at.audit.size()
    backup.add_recipient(at, "me", passphrase=PASSWORD, keys=True)
    backup.create(at, tmp_path / "b")
    rotation.rotate(at, ["objects"])
    custody.save(at, tmp_path / "keys", PASSWORD)
    serial = custody.issue(at, "server", ["localhost"], 1, "p256", tmp_path / "tls")
    custody.revoke(at, serial)
    rotation.disable(at, "objects", 1)
    rotation.enable(at, "objects", 1)
    done = [e.action for e in at.audit.entries(size) if e.outcome == "done" and not e.action.startswith("key:")]
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


def test_a_compromise_is_asked_for_once_and_told_to_key_store_catalogue_and_log(own):
    at = casemate.open(own)
    first, second = datetime.datetime.now(datetime.UTC) - DAY, datetime.datetime.now(datetime.UTC)
    size = at.audit.size()
    rotation.new_signer(at, second)
    at.declare_compromise(1, first)
    told = [(e.action, e.outcome) for e in at.audit.entries(size) if e.action.startswith(("keys:", "signer:"))]
    assert told == [
        ("keys:signer", "allowed"),
        ("signer:compromised", "done"),
        ("signer:rotated", "done"),
        ("keys:signer", "allowed"),
        ("signer:compromised", "done"),
    ]
    fingerprint = at.keys.signers[0].verifier.fingerprint
    assert at.compromises.all() == {fingerprint: first}
    assert at.keys.signers[0].compromised == first.isoformat()


def test_the_command_line_decides_and_records_nothing_that_an_operation_could():
    """Three calls are left, each for a reason."""
    import ast
    from pathlib import Path

    import casemate.cli

    calls = []
    for path in sorted(Path(casemate.cli.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in {"authorise", "record", "append"}:
                owner = ast.unparse(node.func.value)
                if node.func.attr == "authorise" or owner.endswith("audit"):
                    calls.append(f"{path.relative_to(Path(casemate.cli.__file__).parent)}: {owner}.{node.func.attr}")
    # A table is shown to whoever may read its general columns; a key store that came back says so in its own log.
    assert calls == ["data.py: project.authorise", "keys.py: project.audit.record"]
