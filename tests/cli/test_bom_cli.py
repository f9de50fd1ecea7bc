"""`casemate bom` on a project that ran, and on what it handed over."""

import json
import shutil

import msgspec
import pytest

import casemate
from casemate.core.signatures import Signer
from casemate.stages.release.bom import cyclonedx, files, forms
from casemate.verification import bill_of

pytestmark = pytest.mark.slow


def handed_over(clinic, tmp_path):
    casemate.open(clinic).models["wdbc"].export(tmp_path / "out")
    shutil.copytree(clinic / ".casemate/public", tmp_path / "keys")
    return tmp_path / "out", tmp_path / "keys"


def test_a_models_bill_is_the_same_in_the_project_and_where_it_was_handed_to(clinic, cli, tmp_path):
    at, (folder, keys) = ("--config", clinic), handed_over(clinic, tmp_path)
    for form in forms.FORMS:
        ours, theirs = tmp_path / f"ours-{form}", tmp_path / f"theirs-{form}"
        told = cli("bom", "export", "wdbc", ours, "--as", form, *at, "--format", "json").value
        assert (told["reference"], told["form"]) == ("wdbc@1", form)
        answer = cli("bom", "export", folder, theirs, "--as", form, "--key", keys)
        assert "unsigned, since no project is here" in answer.out
        assert ours.read_bytes() == theirs.read_bytes()
        assert cli("bom", "verify", ours, "--key", keys).code == 0
        assert "bill of materials" in cli("verify", ours, "--key", keys).out
        unsigned = cli("bom", "verify", theirs, "--key", keys)
        assert (unsigned.code, "is unsigned" in unsigned.err) == (4, True)
        assert cli("bom", "verify", theirs, "--model", folder, "--key", keys).code == 0
    recorded = [
        one.detail["form"]
        for one in casemate.open(clinic).audit.entries()[1]
        if one.action == "bom:written"
    ]
    assert recorded == [*forms.FORMS]


def test_a_bill_that_was_changed_or_is_a_strangers_is_refused(clinic, cli, tmp_path):
    folder, keys = handed_over(clinic, tmp_path)
    path = tmp_path / "bill.json"
    cli("bom", "export", "wdbc", path, "--config", clinic)
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"CPython"', b'"PyPy"'))
    answer = cli("bom", "verify", path, "--key", keys)
    assert (answer.code, "changed after signing" in answer.err) == (4, True)
    odd = cli("bom", "verify", path, "--model", folder, "--key", keys)
    assert (odd.code, "is not the bill of wdbc@1" in odd.err) == (4, True)
    path.write_bytes(content)
    stranger, said = (
        Signer.generate(),
        files.Signed(project="p", reference="wdbc@1", run="", model=""),
    )
    files.signature_of(path).write_bytes(files.sign(content, said, stranger))
    assert cli("bom", "verify", path, "--key", keys).code == 4
    assert cli("bom", "verify", path).code == 4
    with (folder / "model/mlbom.cdx.json").open("ab") as file:
        file.write(b" ")
    for words in (("show", folder), ("export", folder, tmp_path / "x"), ("diff", folder, path)):
        answer = cli("bom", *words, "--key", keys)
        assert (answer.code, "changed after signing" in answer.err) == (4, True)
    assert not (tmp_path / "x").exists()


def test_a_bill_names_every_figure_that_a_gate_may_ask_for_and_shows_all_seven_clusters(
    clinic, cli
):
    told = cli("bom", "show", "--config", clinic, "--format", "json").value
    model = told["bill"]["models"][0]
    names = {figure["name"] for figure in model["figures"]}
    gates = casemate.open(clinic).models["wdbc"].verdict.gates
    assert {gate.gate for gate in gates if gate.gate != "findings"} - {"robust_accuracy"} <= names
    assert any(name.startswith("robust_accuracy@") for name in names)
    assert [*model["parameters"]] == ["Pipeline.LogisticRegression.C"]
    assert [cluster["name"] for cluster in told["clusters"]][-1] == "Key Performance Indicators"
    text = cli("bom", "show", "wdbc@1", "--config", clinic).out
    assert "Models: 11 of 13 known" in text
    assert "not known" in text
    run = told["bill"]["facts"]["lineage:run"]
    assert cli("bom", "show", run, "--config", clinic).out == text


def test_a_comparison_ends_with_one_if_something_matters(clinic, cli, tmp_path):
    at, path = ("--config", clinic), tmp_path / "other.json"
    bill = casemate.open(clinic).bills.show("wdbc")
    path.write_bytes(cyclonedx.written(bill, "cyclonedx-1.7"))
    same = cli("bom", "diff", "wdbc@1", path, *at)
    assert (same.code, "0 differences" in same.out) == (0, True)
    newer = [
        msgspec.structs.replace(one, version="9999") if one.name == "numpy" else one
        for one in bill.parts
    ]
    path.write_bytes(cyclonedx.written(msgspec.structs.replace(bill, parts=newer), "cyclonedx-1.6"))
    answer = cli("bom", "diff", "wdbc@1", path, *at)
    assert (answer.code, "1 differences, 0 matter" in answer.out) == (0, True)
    back = cli("bom", "diff", path, "wdbc@1", *at)
    assert (back.code, "an older version" in back.out) == (1, True)
    told = json.loads(cli("bom", "diff", path, "wdbc@1", *at, "--format", "json").out)
    assert [(one["name"], one["what"]) for one in told["changes"]] == [("numpy", "version")]


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("show", "nobody"), 2, "no model called"),
        (("show", "wdbc@9"), 2, "no version"),
        (("show", "model.txt"), 2, "no JSON object"),
        (("diff", "wdbc", "model.txt"), 2, "no JSON object"),
        (("export", "wdbc", "model.txt/x"), 5, "model.txt"),
        (("export", "wdbc", "."), 2, "is a folder"),
        (("export", "wdbc", "taken"), 2, "taken.sig is a folder"),
        (("export", "model.txt", "new.json"), 2, "model.txt is a file, and written is a model's"),
        (("verify", "absent.json"), 4, "is unsigned"),
        (("verify", "."), 4, "is unsigned"),
        (("show", "."), 2, "there is no model at"),
    ],
)
def test_what_cannot_be_is_told_in_one_message(clinic, cli, monkeypatch, words, code, told):
    monkeypatch.chdir(clinic)
    (clinic / "model.txt").write_text("no bill")
    (clinic / "taken.sig").mkdir()
    answer = cli("bom", *words)
    assert (answer.code, told in answer.err) == (code, True), answer.err
    assert "Traceback" not in answer.err
    assert not any((clinic / name).exists() for name in ("taken", "new.json", "new.json.sig"))


def test_what_a_stranger_wrote_drives_no_terminal(cli, tmp_path):
    named = {"type": "library", "name": "\x1b[31mred\x1b]0;t\x07"}
    document = {"bomFormat": "CycloneDX", "specVersion": "1.6", "components": [named]}
    (tmp_path / "a").write_text(json.dumps(document | {"metadata": {"component": named}}))
    (tmp_path / "b").write_text(json.dumps(document | {"components": []}))
    for words in (("show", tmp_path / "a"), ("diff", tmp_path / "b", tmp_path / "a")):
        answer = cli("bom", *words)
        assert "\x1b" not in answer.out + answer.err
        assert "red" in answer.out


def test_the_bill_of_a_refused_model_says_so_and_that_nothing_of_it_is_signed(clinic, cli):
    at = ("--config", clinic)
    cli("run", "--from", "release", "-s", "gates.roc_auc.min=1.0", *at)
    told = cli("bom", "show", "wdbc@2", *at, "--format", "json").value["bill"]
    assert told["facts"]["verdict"] != "passed"
    assert "signature" not in told["facts"]
    answer = cli("bom", "export", "wdbc@2", clinic / "b.json", *at)
    assert answer.code == 0
    assert cli("bom", "verify", clinic / "b.json", "--key", clinic / ".casemate/public").code == 0


def test_python_users_get_a_verified_bill_of_what_was_handed_over(clinic, tmp_path):
    folder, keys = handed_over(clinic, tmp_path)
    found = bill_of(folder, [keys])
    assert found == casemate.bill(folder, [keys]) == casemate.open(clinic).bills.show()
