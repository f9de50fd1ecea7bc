"""A project in which every check of the catalogue passes: people with consent, a model that was
approved by somebody else, a witness, a backup, a watcher. Built once, copied by whoever breaks it.
"""

import datetime
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import tomlkit
from tests.conftest import lighten, write_csv
from tests.unit.operations.test_operations import PASSWORD, secret_of

from casemate.config import locate
from casemate.core.types.scan import SCANS, Weakness
from casemate.operations import scaffold
from casemate.operations.project import Project
from casemate.respond.findings import Part

PERSONS = [f"Zelda-Quux-{number:03d}" for number in range(240)]
"""Identifiers that no byte of an evidence pack may have."""
PASSPHRASE = "CONTROLS_PW"
SAYS = {
    "gates": {
        "accuracy": {"min": 0.6},
        "roc_auc": {"min": 0.999},
        "membership_auc": {"max": 0.75},
        "robust_accuracy": {"min": 0.05, "eps": 0.1},
    },
    "privacy": {
        "basis": {"care": {"legal": "consent"}},
        "retention": {
            "data": {"days": 3650, "reason": "the ward's decision"},
            "telemetry": {"days": 30, "reason": "the ward's decision"},
        },
    },
    "release": {"approvals": 1},
    "audit": {"copies": ["file:../copies"]},
    "serve": {"limits": {"requests_per_minute": 600, "rows": 5000}},
    "controls": {"backups": "../backups", "expectations": "expected.toml"},
}
EXPECTED = """[[expect]]
principal = "ben"
action = "model:approve"
resource = "Model::t"
allow = true

[[expect]]
principal = "ben"
action = "keys:destroy"
resource = "Key::objects"
allow = false
"""


class Clock:
    """Goes on from where it was set."""

    def __init__(self, time: datetime.datetime) -> None:
        self.time = time

    def now(self) -> datetime.datetime:
        return self.time


def opened(root: Path, *overrides: str, **later: float) -> Project:
    """The project, so much later."""
    span = datetime.timedelta(**later)
    clock = Clock(datetime.datetime.now(datetime.UTC) + span) if later else None
    return Project(*locate(root, list(overrides)), clock=clock)


def table() -> pa.Table:
    """Two numbers and a town, and who it is."""
    drawn = np.random.default_rng(7)
    age, dose = drawn.normal(50, 10, len(PERSONS)).round(), drawn.gamma(2.0, 10.0, len(PERSONS))
    town = drawn.choice(["rome", "oslo", "kiel"], len(PERSONS))
    ill = age + drawn.normal(0, 6, len(PERSONS)) > 50
    return pa.table(
        {
            "person": PERSONS,
            "age": age,
            "dose": dose.round(1),
            "town": town,
            "outcome": np.where(ill, "ill", "well"),
        }
    )


def edit(root: Path, change) -> None:
    """Change casemate.toml as somebody with an editor would."""
    path = root / "casemate.toml"
    document = tomlkit.parse(path.read_text())
    change(document)
    path.write_text(tomlkit.dumps(document))


def _says(document) -> None:
    document["project"]["purpose"] = "care"
    document["data"]["subject"] = "person"
    document["assess"].update(attack_rows=30, attack_steps=6, bootstrap=40)
    document["data"].setdefault("columns", {})["age"] = {"min": 0.0, "max": 120.0}
    document["gates"] = SAYS["gates"]
    for name in ("privacy", "release", "audit", "controls"):
        document.setdefault(name, {}).update(SAYS[name])
    document.setdefault("serve", {})["limits"] = SAYS["serve"]["limits"]
    document["serve"]["guard"] = {"unknown": "refuse"}


def lazily(document) -> None:
    """What somebody leaves out who wants a model by tonight; it is signed as `t@2`, not served."""
    document["gates"] = {"accuracy": {"min": 0.5}}
    document["assess"]["eps"] = []
    document["screen"].update(label_noise=False, outliers=False)
    del document["privacy"]["basis"]


EVAL = Weakness(
    fingerprint="00" * 32,
    kind="code",
    rule="code.eval",
    severity="medium",
    message="text is run as code",
    scanners=["code"],
)


def record_scan(project, found):
    """What a scan of everything would have left; scanners are tested elsewhere."""
    parts = [Part(scanner=kind, kind=kind, answer="clean") for kind in SCANS]
    with project.database.transaction() as tx:
        project.findings_kept.record(tx, "casemate", parts, found)
        project.log.append(tx, "casemate", "scan:done", 'Scan::"1"', "done", {})
    project.log.publish()


def build(root: Path) -> None:
    """Everything that people would have done in such a project."""
    root.mkdir()
    scaffold.create(root, scaffold.from_table(root, write_csv(root / "t.csv", table()), "outcome"))
    lighten(root)
    edit(root, _says)
    (root / "expected.toml").write_text(EXPECTED)
    project = opened(root)
    day = "2026-01-01T00:00:00Z"
    project.privacy.consent.add(
        [
            {"subject": one, "purpose": "care", "time": day, "status": "given", "text": "v1",
             "source": "form"}
            for one in PERSONS
        ]
    )  # fmt: skip
    project.access.add_user("ben", ["approver"], PASSWORD)
    ben = project.acting(secret_of(project, "ben"))
    end = project.clock.now() + datetime.timedelta(days=300)
    ben.models.waive("roc_auc", end, "the table is small")
    run = project.run()
    assert run.verdict.outcome == "passed", run.verdict
    reference = run.model.reference
    ben.models.approve(reference, "looked at")
    project.models.promote(reference)
    said = (root / "casemate.toml").read_text()
    edit(root, lazily)
    lazy = opened(root).run()
    assert lazy.verdict.outcome == "passed", lazy.verdict
    (root / "casemate.toml").write_text(said)
    project.datasets["t"].noisy("age", 0.5)
    project.backups.add_recipient("us", passphrase=PASSWORD)
    project.watch.once()
    (root.parent / "backups").mkdir()
    project.backups.create(root.parent / "backups" / "one.backup")
    os.environ[PASSPHRASE] = PASSWORD
    shutil.copytree(project.keystore.folder, root.parent / "unprotected")
    project.keys.protect(f"env:{PASSPHRASE}")
    edit(
        root,
        lambda document: document.setdefault("keys", {}).update(passphrase=f"env:{PASSPHRASE}"),
    )
    record_scan(project, [])
    project.audit.copy()
    project.close()
