"""For every check of the catalogue, what an attacker or a lazy colleague does to make it fail, done
to a real project: files, catalogue, configuration, clock.
"""

import datetime
import shutil
import sqlite3
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.unit.operations.sound import EVAL, PERSONS, edit, opened, record_scan
from tests.unit.operations.test_operations import PASSWORD

from casemate.core.errors import HistoryError
from casemate.operations.incidents import handling
from casemate.operations.project import Project
from casemate.stages.release import mlbom

HOUR = datetime.timedelta(hours=1)


@dataclass
class Copy:
    """A copy of the sound project, with its key store, copies and backups."""

    root: Path
    monkeypatch: object

    @property
    def state(self) -> Path:
        return self.root / ".casemate"

    def flip(self, pattern: str, at: int | None = None) -> None:
        """Change one bit of the largest file that fits, by default in its middle."""
        path = max(self.root.parent.glob(pattern), key=lambda one: one.stat().st_size)
        content = bytearray(path.read_bytes())
        content[len(content) // 2 if at is None else at] ^= 1
        path.chmod(0o600)
        path.write_bytes(bytes(content))

    def sql(self, statement: str) -> None:
        """Write past casemate."""
        with sqlite3.connect(self.state / "catalog.db") as database:
            assert database.execute(statement).rowcount > 0

    def says(self, change) -> Project:
        """The project with another configuration."""
        edit(self.root, change)
        return opened(self.root)


def a_tile_is_changed(copy):
    # its end is of an entry's body; in the middle there may be a length
    copy.flip("ward/.casemate/audit/tile/entries/**/*.p/*", -1)
    return opened(copy.root)


def copies_are_deleted(copy):
    shutil.rmtree(copy.root.parent / "copies")
    return opened(copy.root, hours=25)


def an_old_state_is_put_back(copy):
    shutil.copytree(copy.state, copy.root.parent / "old")
    project = opened(copy.root)
    project.log.record('User::"eva"', "run:start", "x", "done")
    project.audit.copy()
    project.close()
    shutil.rmtree(copy.state)
    shutil.copytree(copy.root.parent / "old", copy.state)
    project = opened(copy.root)
    project.log.record('User::"eva"', "run:start", "y", "done")
    try:
        project.audit.copy()
    except HistoryError:
        return opened(copy.root)
    raise AssertionError("nobody noticed")


def somebody_makes_himself_an_owner(copy):
    copy.sql("""update principal set roles = '["owner"]' where name = 'ben'""")
    return opened(copy.root)


def records_go_after_a_month(copy):
    return copy.says(lambda document: document["serve"].update(keep_days=30))


def an_object_is_changed(copy):
    project = opened(copy.root)
    digest = project.registry.get("t@1").release.files["model.json"]
    project.close()
    copy.flip(f"ward/.casemate/objects/{digest[:2]}/{digest[2:]}")
    return opened(copy.root)


def evidence_is_changed(copy):
    run = opened(copy.root).registry.get("t@1").release.lineage.run
    copy.flip(f"ward/.casemate/runs/{run}/3-assess/assess.json")
    return opened(copy.root)


def the_waiver_ends(copy):
    return opened(copy.root, days=301)


def nobody_is_asked(copy):
    return copy.says(lambda document: document["release"].update(approvals=0))


def a_gate_is_removed(copy):
    return copy.says(lambda document: document["gates"].remove("membership_auc"))


def the_lazy_model_is_served(copy):
    said = (copy.root / "casemate.toml").read_text()
    nobody_is_asked(copy).models.promote("t@2")
    (copy.root / "casemate.toml").write_text(said)
    return opened(copy.root)


def the_bound_is_tightened(copy):
    return copy.says(lambda document: document["gates"]["membership_auc"].update(max=0.5))


def confinement_becomes_a_wish(copy):
    return copy.says(lambda document: document.update(sandbox={"mode": "prefer"}))


def a_sealed_table_is_changed(copy):
    lineage = opened(copy.root).registry.get("t@1").release.lineage
    copy.flip(f"ward/.casemate/datasets/t/{lineage.dataset_version}/*.parquet")
    return opened(copy.root)


def a_package_is_installed(copy):
    folder = copy.root.parent / "site" / "sneaked_in-6.6.6.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: sneaked-in\nVersion: 6.6.6\n")
    copy.monkeypatch.setattr(sys, "path", [*sys.path, str(folder.parent)])
    mlbom.environment.cache_clear()
    return opened(copy.root)


def somebody_withdraws(copy):
    opened(copy.root).privacy.consent.withdraw(PERSONS[3])
    return opened(copy.root)


def somebody_restricts(copy):
    requests = opened(copy.root).privacy.requests
    asked = requests.begin(PERSONS[5], "restriction").request.id
    requests.decide(asked, "grant")
    return opened(copy.root)


def nobody_removes_what_is_over(copy):
    return opened(copy.root, days=40)


def a_request_is_forgotten(copy):
    opened(copy.root).privacy.requests.begin(PERSONS[4], "access")
    return opened(copy.root, days=40)


def more_is_spent_than_allowed(copy):
    return copy.says(lambda document: document["privacy"].update(budget=0.1))


def everybody_is_made_an_owner(copy):
    project = opened(copy.root)
    for name in ("eva", "kim"):
        project.access.add_user(name, ["owner"], PASSWORD)
    return project


def nothing(copy):
    return opened(copy.root)


def nobody_comes_for_a_quarter(copy):
    return opened(copy.root, days=91)


def the_glass_was_broken(copy):
    opened(copy.root).access.break_glass("the ward called", HOUR)
    return opened(copy.root, days=15)


def guesses_are_not_looked_into(copy):
    opened(copy.root).point.anomalies.count('User::"ben"', "failed", 10)
    return opened(copy.root, days=15)


def a_policy_answers_otherwise(copy):
    folder = copy.root / "policies"
    folder.mkdir(exist_ok=True)
    text = '@id("no") forbid (principal, action == Action::"model:approve", resource);\n'
    (folder / "no.cedar").write_text(text)
    project = opened(copy.root)
    project.access.apply_policies()
    return project


def the_key_store_is_opened_to_others(copy):
    project = opened(copy.root)
    project.keystore.folder.chmod(0o755)
    return project


def the_unprotected_key_file_comes_back(copy):
    folder = opened(copy.root).keystore.folder
    shutil.rmtree(folder)
    shutil.copytree(copy.root.parent / "unprotected", folder)
    return copy.says(lambda document: document["keys"].remove("passphrase"))


def nobody_rotates(copy):
    return opened(copy.root, days=366)


def a_certificate_ends(copy):
    out = copy.root.parent / "certificate"
    opened(copy.root).keys.issue("server", ["ward.example.org"], 5, "p256", out)
    return opened(copy.root)


def nobody_makes_a_backup(copy):
    return opened(copy.root, days=32)


def the_backup_rots(copy):
    copy.flip("backups/one.backup")
    return opened(copy.root)


def the_authority_ends(copy):
    return opened(copy.root, days=3660)


def a_limit_is_removed(copy):
    return copy.says(lambda document: document["serve"]["limits"].remove("rows"))


def unknown_categories_are_answered(copy):
    return copy.says(lambda document: document["serve"]["guard"].update(unknown="flag"))


def nobody_watches(copy):
    return opened(copy.root, hours=25)


def _alarm(root: Path) -> Project:
    project = opened(root)
    project.incidents.report(b'{"alerts": [{"name": "x", "severity": "page"}]}')
    return project


def an_alarm_is_not_taken_up(copy):
    _alarm(copy.root)
    return opened(copy.root, hours=9)


def nobody_asks_what_was_learnt(copy):
    project = _alarm(copy.root)
    handling.grade(project, 1, "high")
    project.incidents.acknowledge(1)
    project.incidents.close(1, despite="a drill")
    return opened(copy.root, days=15)


def a_receiver_is_gone(copy):
    def desk(document):
        document["notices"] = {"desk": {"kind": "folder", "to": "t.csv", "on": ["run:passed"]}}
        document["outbox"] = {"attempts": 1}

    project = copy.says(desk)
    with project.database.transaction() as tx:
        project.outbox.enqueue(tx, "run:passed", "key", {"run": "x"})
    project.messages.deliver()
    return project


def nobody_scans_for_a_fortnight(copy):
    return opened(copy.root, hours=24 * 14)


def a_finding_is_forgotten(copy):
    project = opened(copy.root)
    record_scan(project, [EVAL])
    return opened(copy.root, hours=24 * 400)


BREAKINGS = {
    "log.verifies": (a_tile_is_changed, "was changed"),
    "log.seen-outside": (copies_are_deleted, "nobody outside"),
    "log.one-history": (an_old_state_is_put_back, "another history"),
    "log.rows": (somebody_makes_himself_an_owner, "principal"),
    "answers.kept": (records_go_after_a_month, "30 days"),
    "models.signed": (an_object_is_changed, "changed"),
    "models.gated": (evidence_is_changed, "assess.json"),
    "models.waivers": (the_waiver_ends, "t@1: roc_auc"),
    "models.four-eyes": (the_lazy_model_is_served, "nobody else"),
    "release.approvals": (nobody_is_asked, "approvals"),
    "release.gates": (a_gate_is_removed, "leakage"),
    "models.attacked": (the_lazy_model_is_served, "t@2"),
    "models.membership": (the_bound_is_tightened, "more than 0.5"),
    "sandbox.in-force": (confinement_becomes_a_wish, "unconfined"),
    "data.sealed": (a_sealed_table_is_changed, "changed"),
    "data.screened": (the_lazy_model_is_served, "t@2"),
    "scan.looked": (nobody_scans_for_a_fortnight, "too long ago"),
    "scan.mended": (a_finding_is_forgotten, "1 are overdue"),
    "supply.bill": (a_package_is_installed, "sneaked-in"),
    "privacy.basis": (the_lazy_model_is_served, "without a basis"),
    "privacy.withdrawn": (somebody_withdraws, "t@1: 1"),
    "privacy.restricted": (somebody_restricts, "t@1: 1"),
    "privacy.retention": (nobody_removes_what_is_over, "over the term: telemetry"),
    "privacy.requests": (a_request_is_forgotten, "request 1"),
    "privacy.budget": (more_is_spent_than_allowed, "epsilon 0.1"),
    "access.owners": (everybody_is_made_an_owner, "3 people"),
    "access.factors": (nothing, "2 of 2"),
    "access.login": (nothing, "without a login"),
    "access.stale": (nobody_comes_for_a_quarter, "2 people"),
    "access.emergencies": (the_glass_was_broken, ": 1"),
    "access.findings": (guesses_are_not_looked_into, ": 1"),
    "access.policies": (a_policy_answers_otherwise, "1 of 2"),
    "keys.private": (the_key_store_is_opened_to_others, "open to others"),
    "keys.protected": (the_unprotected_key_file_comes_back, "copies the key file"),
    "keys.rotated": (nobody_rotates, "overdue"),
    "keys.certificates": (a_certificate_ends, "1 of 2"),
    "backup.young": (nobody_makes_a_backup, "31 days"),
    "backup.whole": (the_backup_rots, "not what was written"),
    "gateway.tls": (the_authority_ends, "ended"),
    "gateway.limits": (a_limit_is_removed, "rows"),
    "gateway.guards": (unknown_categories_are_answered, "unknown"),
    "watch.looked": (nobody_watches, "24 hours"),
    "incidents.in-time": (an_alarm_is_not_taken_up, "incident 1"),
    "incidents.reviewed": (nobody_asks_what_was_learnt, "not reviewed: 1"),
    "notices.delivered": (a_receiver_is_gone, "desk"),
}
"""Check -> (what is done, words of what it then says)."""
