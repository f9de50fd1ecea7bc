"""The rights of real patients, from consent to evidence: one is erased, one restricted, one
corrected, an old backup comes back, and an outsider checks what is said of it.
"""

import shutil

import pandas as pd
import pyarrow as pa
import pytest
from tests.attacks.test_gateway import new_token
from tests.conftest import lighten, serving

import casemate
from casemate.core.errors import RefusedError
from casemate.serve.client import Client

pytestmark = pytest.mark.slow

ASKED_NOBODY = 8
"""Patients who were never asked for consent."""


def stays(folder) -> pd.DataFrame:
    """A row a stay in hospital, with how old the patient was and whether they died there."""
    read = {name: pd.read_csv(folder / f"{name}.csv.gz") for name in ("ADMISSIONS", "PATIENTS")}
    table = read["ADMISSIONS"].merge(read["PATIENTS"][["subject_id", "gender", "dob"]])
    for name in ("DIAGNOSES_ICD", "PRESCRIPTIONS"):
        counts = pd.read_csv(folder / f"{name}.csv.gz").groupby("hadm_id").size()
        table[name.lower()] = table["hadm_id"].map(counts).fillna(0).astype(int)
    # dates lie beyond what pandas reckons with; those of the old are moved 300 years
    years = [table[name].str[:4].astype(int) for name in ("admittime", "dob")]
    table["age"] = (years[0] - years[1]).clip(upper=90)
    columns = ["age", "gender", "admission_type", "insurance", "diagnoses_icd", "prescriptions"]
    # five digits are in many a digest; with a word before them they are nobody else's
    table["subject_id"] = "patient-" + table["subject_id"].astype(str)
    return table[["subject_id", *columns, "hospital_expire_flag"]]


def test_the_rights_of_patients_reach_data_models_backups_and_evidence(
    home, case, cli, tmp_path, monkeypatch
):
    table = stays(case("datasets/mimic3demo"))
    people = sorted(table["subject_id"].unique())
    erased, restricted, corrected = people[20:23]
    source, root = tmp_path / "stays.csv", tmp_path / "ward"
    table.to_csv(source, index=False)
    consent = tmp_path / "consent.csv"
    lines = [
        f"{one},outcome-research,2026-01-{10 + at % 20}T09:00:00+01:00,given,v2,form"
        for at, one in enumerate(people[ASKED_NOBODY:])
    ]
    consent.write_text("\n".join(["subject,purpose,time,status,text,source", *lines]) + "\n")
    for name, who in (("ERASED", erased), ("RESTRICTED", restricted), ("CORRECTED", corrected)):
        monkeypatch.setenv(name, who)
    monkeypatch.setenv("PW", "correct horse battery staple")

    def casemate_(*words, code=0):
        said = cli(*words, "--config", root)
        assert said.code == code, said.out + said.err
        assert not any(one in said.out + said.err for one in (erased, restricted, corrected))
        return said.out

    target = "hospital_expire_flag"
    assert cli("init", root, "--table", source, "--target", target).code == 0
    lighten(root)
    file = root / "casemate.toml"
    head, _, _ = file.read_text().partition("[gates]")
    head = head.replace('purpose = "unspecified"', 'purpose = "outcome-research"')
    basis = "[privacy.basis.outcome-research]\nlegal = 'consent'\ntexts = ['v2']\n"
    file.write_text(f"{head}[gates]\naccuracy = {{ min = 0.2 }}\n{basis}")
    casemate_("privacy", "consent", "import", consent)
    casemate_("run")
    project = casemate.open(root)
    first = next(iter(project.datasets.values())).record
    asked = table[~table["subject_id"].isin(people[:ASKED_NOBODY])]
    assert first.rows == len(asked)

    casemate_("model", "promote", "stays@1")
    token, _ = new_token(project, "doctor", "client")
    features = pa.Table.from_pandas(table.drop(columns=["subject_id", target])[:5])
    with serving(root) as running:
        client = Client(running.url, token, running.ca, model="stays")
        assert client.predict(features).answers.num_rows == 5

    casemate_("backup", "recipients", "add", "safe", "--passphrase", "env:PW", "--keys")
    casemate_("backup", "create", tmp_path / "old.backup")

    # one is erased: key, tables, models, with a certificate
    casemate_("privacy", "erase", "env:ERASED", code=6)
    # one wants to be left out
    casemate_("privacy", "request", "open", "env:RESTRICTED", "--kind", "restriction")
    # one is written down wrong
    casemate_("privacy", "request", "open", "env:CORRECTED", "--kind", "rectification")
    for number in (2, 3):
        casemate_("privacy", "request", "decide", number, "grant")
    casemate_("privacy", "request", "fulfil", 3, "--reason", "mistyped", code=1)
    mine = table["subject_id"] == corrected
    table.loc[mine, "age"] = table.loc[mine, "age"] - 10
    table.to_csv(source, index=False)
    casemate_("run")
    second = next(iter(casemate.open(root).datasets.values())).record
    gone = asked["subject_id"].isin([erased, restricted]).sum()
    assert second.rows == first.rows - gone
    casemate_("privacy", "request", "model", 3, "withdraw", "stays@1")
    casemate_("privacy", "request", "fulfil", 3, "--reason", "mistyped")
    casemate_("privacy", "request", "fulfil", 2, "--reason", "left out of every run")
    project = casemate.open(root)
    with pytest.raises(RefusedError, match="stays@1"):
        project.models.promote("stays@1")
    casemate_("model", "promote", "stays@2")

    # an old backup comes back, with a person in it who is erased
    casemate_("evidence", tmp_path / "pack")
    keys = tmp_path / "keys"
    shutil.copytree(project.keystore.folder / "public", keys)
    project.close()
    assert cli("verify", tmp_path / "pack", "--key", keys).code == 0
    everything = b"".join(p.read_bytes() for p in (tmp_path / "pack").rglob("*") if p.is_file())
    assert not any(one.encode() in everything for one in (erased, restricted, corrected))
    restored = tmp_path / "restored"
    said = cli(
        *("backup", "restore", tmp_path / "old.backup", restored, "--passphrase", "env:PW"),
        *("--config", root),
    )
    assert said.code == 0, said.err
    with casemate.open(restored) as again:
        found = again.privacy.affected(erased)
        assert found.key == "shredded"
        assert again.privacy.affected(corrected).key == "live"
