import json
import os
import subprocess
import sys

import msgspec
import pyarrow.csv
import pytest
from tests.conftest import command, serving, tree

import casemate
from casemate.cli import VERBS


def test_every_verb_explains_itself(capsys):
    from casemate.cli import main

    for verb in VERBS:
        with pytest.raises(SystemExit) as caught:
            main([verb, "--help"])
        assert caught.value.code == 0
        assert "usage: casemate" in capsys.readouterr().out


def test_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['casemate', '--help']\nfrom casemate.cli import main\ntry:"
        " main()\nexcept SystemExit: pass\n"
    )
    code += (
        "print(sorted(set(sys.modules) & {'numpy', 'pyarrow', 'sklearn', 'sqlalchemy',"
        " 'cryptography', 'rich', 'msgspec'}))"
    )
    out = subprocess.run(
        [command()[0], "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.splitlines()[-1] == "[]"


def test_what_is_imported_before_everything_needs_next_to_nothing():
    code = "import sys; before = set(sys.modules); import casemate.core.quiet\n"
    code += (
        "print(sorted({'pathlib', 'tempfile', 'shutil', 'random', 'subprocess', 'urllib'} &"
        " (set(sys.modules) - before)))"
    )
    out = subprocess.run(
        [command()[0], "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["run"], 2, "no casemate.toml"),
        (["status"], 2, "casemate init"),
        (["init", "x"], 2, "say what to start from"),
        (["init", "x", "--table", "none.csv", "--target", "y"], 2, "no such file"),
        (["verify", "none"], 2, "no such file or folder"),
        (["verify", "."], 2, "nothing that casemate signs"),
    ],
)
def test_a_wrong_call_is_one_message_with_a_hint_and_changes_nothing(
    cli, tmp_path, monkeypatch, words, code, expected
):
    monkeypatch.chdir(tmp_path)
    answer = cli(*words)
    assert answer.code == code
    assert expected in answer.err
    assert "hint:" in answer.err
    assert "Traceback" not in answer.err
    assert tree(tmp_path) == {}


def test_what_a_figure_stands_on_is_told_without_a_project(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = cli("assess", "--explain", "roc_auc")
    assert told.code == 0 and "DeLong" in told.out and "cannot see" in told.out
    assert cli("assess", "--explain", "roc_auc", "--format", "json").value["figure"] == "roc_auc"
    assert cli("assess", "--explain", "roc").code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_second_init_in_the_same_folder_is_refused(cli, fresh):
    before = tree(fresh)
    answer = cli("init", fresh, "--example", "clinical")
    assert answer.code == 2
    assert "exists already" in answer.err
    assert tree(fresh) == before


def test_init_shows_what_it_inferred_and_run_uses_it(cli, tmp_path, tiny):
    from tests.conftest import write_csv

    (tmp_path / "p").mkdir()
    table = write_csv(tmp_path / "p" / "t.csv", tiny)
    answer = cli("init", tmp_path / "p", "--table", table, "--target", "y")
    assert answer.code == 0
    assert "blue, green, red" in answer.out
    assert cli("config", "check", "--config", tmp_path / "p").code == 0


def test_an_identifier_is_recognised_and_kept_from_the_features(cli, tmp_path, tiny):
    import pyarrow as pa
    from tests.conftest import write_csv

    named = tiny.append_column("customerID", pa.array([f"C{i:04d}" for i in range(120)]))
    table = write_csv(tmp_path / "t.csv", named)
    answer = cli(
        "init", tmp_path / "p", "--table", table, "--target", "y", "--format", "json"
    ).value
    assert {c["name"]: c["column_class"] for c in answer["columns"]}["customerID"] == "identifier"


def test_init_shows_how_a_file_is_written_and_casemate_toml_says_it(cli, tmp_path):
    import casemate

    (tmp_path / "t.xls").write_text(
        "alter;größe;befund\n" + "".join(f"{20 + n};{n},5;{'ab'[n % 2]}\n" for n in range(40)),
        encoding="utf-16",
    )
    answer = cli("init", tmp_path / "p", "--table", tmp_path / "t.xls", "--target", "befund")
    assert answer.code == 0
    assert "found by content: delimiter ';', decimal ',', encoding 'utf-16'" in answer.out
    data = casemate.open(tmp_path / "p").config.data
    assert (data.delimiter, data.decimal, data.encoding) == (";", ",", "utf-16")
    assert cli("config", "check", "--config", tmp_path / "p").code == 0


def test_how_a_file_is_written_can_be_said_to_init(cli, tmp_path):
    import casemate

    lines = "".join(
        f"{20 + n}\t{n}.5\t{'.' if n % 9 else '-'}\t0{n % 9 + 1}.02.2024\t{'ab'[n % 2]}\n"
        for n in range(40)
    )
    (tmp_path / "t.txt").write_bytes(
        ("All of it\nage\tx\tz\tday\tMünze\n" + lines).encode("cp1252")
    )
    said = [
        "--delimiter",
        "tab",
        "--decimal",
        ".",
        "--encoding",
        "cp1252",
        "--null",
        "-",
        "--null",
        ".",
        "--date-format",
        "%d.%m.%Y",
        "--skip-lines",
        1,
    ]
    answer = cli(
        "init",
        tmp_path / "p",
        "--table",
        tmp_path / "t.txt",
        "--target",
        "Münze",
        *said,
        "--quote",
        "",
    )
    assert answer.code == 0, answer.err
    data = casemate.open(tmp_path / "p").config.data
    assert (data.delimiter, data.decimal, data.encoding, data.quote, data.skip_lines) == (
        "\t",
        ".",
        "cp1252",
        "",
        1,
    )
    assert data.null_values == ["", "NA", "N/A", "NaN", "null", "-", "."]
    assert data.date_format == "%d.%m.%Y"
    kinds = {
        line.split()[0]: line.split()[1]
        for line in answer.out.splitlines()
        if line.startswith(("age", "x ", "day"))
    }
    assert kinds["day"] == "date"
    for wrong in (["--delimiter", "ab"], ["--encoding", "utf-99"], ["--skip-lines", 99]):
        answer = cli(
            "init",
            tmp_path / "q",
            "--table",
            tmp_path / "t.txt",
            "--target",
            "Münze",
            *said,
            *wrong,
        )
        assert answer.code in (1, 2)
        assert "hint" in answer.err


def test_several_files_are_given_to_init_one_by_one_or_as_a_folder(cli, tmp_path):
    (tmp_path / "t").mkdir()
    for name in "ab":
        (tmp_path / "t" / f"{name}.csv").write_text(
            "x,y\n" + "".join(f"{n}.5,{'pq'[n % 2]}\n" for n in range(30))
        )
    both = ("--table", tmp_path / "t" / "a.csv", "--table", tmp_path / "t" / "b.csv")
    assert cli("init", tmp_path / "p", *both, "--target", "y").code == 0
    assert cli("config", "check", "--config", tmp_path / "p").code == 0
    assert cli("init", tmp_path / "q", "--table", tmp_path / "t", "--target", "y").code == 0
    assert "a.csv, b.csv" in cli("config", "check", "--config", tmp_path / "q").out


def change(root, old, new):
    path = root / "casemate.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("prepare", "code", "expected"),
    [
        (lambda r: change(r, "[screen]", "[scren]"), 2, "did you mean 'screen'"),
        (lambda r: change(r, "train.py:build", "missing.py:build"), 2, "no such file"),
        (lambda r: change(r, 'target = "malignant"', 'target = "malign"'), 2, "no column 'malign'"),
        (lambda r: change(r, "data/wdbc.csv", "data/none.csv"), 2, "no such file"),
        (lambda r: (r / "data/wdbc.csv").write_bytes(b""), 1, "is empty"),
        (
            lambda r: (r / "data/wdbc.csv").write_bytes((r / "data/wdbc.csv").read_bytes()[:-40]),
            1,
            "ragged",
        ),
        (
            lambda r: (r / "data/wdbc.csv").write_bytes(
                b"\xff" + (r / "data/wdbc.csv").read_bytes()
            ),
            1,
            "not UTF-8",
        ),
        (lambda r: change(r, "cap = 0.25", "cap = 0.001"), 1, "under suspicion"),
        (lambda r: (r / "policies/x.cedar").write_text("permit ("), 2, "policies"),
        (
            lambda r: change(r, "roc_auc = { min = 0.85 }", "roc_auc = { min = 97 }"),
            2,
            "impossible",
        ),
    ],
)
def test_bad_input_to_a_run_ends_with_one_message_and_no_change_on_disk(
    cli, fresh, prepare, code, expected
):
    prepare(fresh)
    before = tree(fresh)
    answer = cli("run", "--config", fresh)
    assert answer.code == code, answer.err
    assert expected in answer.err
    assert "hint:" in answer.err
    assert tree(fresh) == before


def test_a_column_that_is_gone_or_changed_breaks_the_pinned_schema(cli, clinic):
    path = clinic / "data" / "wdbc.csv"
    lines = path.read_text().splitlines()
    path.write_text(
        "\n".join([lines[0], *(line.replace(",", ",x", 1) for line in lines[1:])]) + "\n"
    )
    answer = cli("run", "--config", clinic)
    assert answer.code == 1
    assert "'mean_radius' is category, pinned as number" in answer.err


def test_a_refused_model_is_exit_code_one_and_stays_unsigned(cli, tiny_project):
    answer = cli(
        "run", "--config", tiny_project, "-s", "gates.accuracy={ max = 0.01 }", "--format", "json"
    )
    assert answer.code == 1
    assert answer.value["verdict"]["outcome"] == "refused"
    shown = cli("model", "list", "--config", tiny_project, "--format", "json").value
    assert shown[0]["signed"] is False
    for words in (("model", "export", "t", tiny_project / "out"), ("serve", "--port", "0")):
        refused = cli(*words, "--config", tiny_project)
        assert refused.code in (1, 2)
        assert not (tiny_project / "out").exists()


def test_what_is_shown_of_a_finished_project(cli, clinic):
    suspects = casemate.open(clinic).datasets["wdbc"].suspects()
    assert suspects
    for words, expected in (
        (("status",), "newest signed: wdbc@1"),
        (("runs",), "passed"),
        (("model", "list"), "wdbc@1"),
        (("model", "show", "wdbc"), "lineage"),
        (("data", "list"), "569"),
        (("data", "show", "wdbc"), f"quarantine: {len(suspects)} rows"),
        (("audit", "show"), "run:release"),
        (("audit", "verify"), "every body hold"),
        (("keys", "list"), "ML-DSA-65"),
        (("config", "check"), "OK"),
        (("config", "show"), "train.folds = 5"),
        (("config", "schema"), "screen.cap"),
        (("access", "whoami"), "owner"),
        (("access", "list"), "User"),
    ):
        answer = cli(*words, "--config", clinic)
        assert answer.code == 0, answer.err
        assert expected in answer.out
        json.loads(cli(*words, "--config", clinic, "--format", "json").out)


def test_no_command_shows_a_key_or_a_row(cli, clinic):
    import casemate

    project = casemate.open(clinic)
    document = json.loads((project.keystore.folder / "keystore.json").read_text())
    private = msgspec.to_builtins(project.keystore._identity)
    secrets = [
        private["signer_mldsa65"],
        private["log_ed25519"],
        document["keks"]["footer"]["1"]["material"],
    ]
    shown = ""
    for words in (
        ("keys", "list"),
        ("status",),
        ("data", "show", "wdbc"),
        ("audit", "show"),
        ("config", "show"),
        ("doctor",),
    ):
        answer = cli(*words, "--config", clinic, "--format", "json")
        shown += answer.out + answer.err
    assert not [secret for secret in secrets if secret in shown]
    assert project.datasets["wdbc"].to_arrow(["patient_id"])["patient_id"][0].as_py() not in shown


def test_an_unknown_user_is_denied(cli, clinic, monkeypatch):
    monkeypatch.setattr(
        "casemate.controls.access.identity.principals.current_name", lambda: "mallory"
    )
    for words in (
        ("run",),
        ("model", "export", "wdbc", clinic / "out"),
        ("access", "token", "create", "x"),
    ):
        answer = cli(*words, "--config", clinic)
        assert answer.code == 3
        assert "mallory" in answer.err
    assert not (clinic / "out").exists()


def test_no_environment_variable_makes_another_user(cli, clinic, monkeypatch):
    before = cli("access", "whoami", "--config", clinic).out
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "mallory")
    assert cli("access", "whoami", "--config", clinic).out == before


def test_a_forbid_policy_stops_an_export_and_is_recorded(cli, clinic):
    (clinic / "policies" / "freeze.cedar").write_text(
        '@id("freeze") forbid (principal, action == Action::"model:export", resource);'
    )
    answer = cli("model", "export", "wdbc", clinic / "out", "--config", clinic)
    assert answer.code == 3
    assert "freeze" in answer.err
    last = cli("audit", "show", "--config", clinic, "--format", "json").value[-1]
    assert (last["action"], last["outcome"]) == ("model:export", "denied")


def test_tokens_are_made_listed_and_revoked(cli, clinic):
    made = cli(
        "access",
        "token",
        "create",
        "svc",
        "--out",
        clinic / "token",
        "--config",
        clinic,
        "--format",
        "json",
    ).value
    assert (clinic / "token").stat().st_mode & 0o777 == 0o600
    listed = cli("access", "token", "list", "--config", clinic)
    assert made["id"] in listed.out
    assert (clinic / "token").read_text().strip() not in listed.out
    assert cli("access", "token", "revoke", made["id"], "--config", clinic).code == 0
    assert cli("access", "token", "revoke", "00000000", "--config", clinic).code == 2


@pytest.mark.parametrize("days", ["0", "-1", "1e12", "nan"])
def test_a_token_lifetime_out_of_range_is_refused(cli, clinic, days):
    answer = cli("access", "token", "create", "svc", f"--days={days}", "--config", clinic)
    assert answer.code == 2
    assert "--days" in answer.err


def test_another_scope_for_a_service_with_a_token_is_refused(cli, clinic):
    assert cli("access", "token", "create", "svc", "--model", "wdbc", "--config", clinic).code == 0
    assert cli("access", "token", "create", "svc", "--model", "wdbc", "--config", clinic).code == 0
    answer = cli("access", "token", "create", "svc", "--config", clinic)
    assert answer.code == 2
    assert "another service" in answer.err + answer.out


def test_predictions_come_from_the_gateway_and_go_to_a_file(cli, clinic):
    with serving(clinic) as running:
        answer = cli(
            "predict",
            clinic / "data" / "wdbc.csv",
            "--url",
            running.url,
            "--out",
            clinic / "out.csv",
            "--config",
            clinic,
        )
        assert answer.code == 0, answer.err
        lines = (clinic / "out.csv").read_text().splitlines()
        assert lines[0] == "row,patient_id,label,p_0,p_1,request,request_row"
        assert len(lines) == 570
        lines_of_none = lines[0] + "\n"
        (clinic / "bad.csv").write_text("mean_radius\n1\n")
        lines = (clinic / "data" / "wdbc.csv").read_text().splitlines()
        (clinic / "nobody.csv").write_text(lines[0] + "\n")
        assert (
            cli("predict", clinic / "nobody.csv", "--url", running.url, "--config", clinic).out
            == lines_of_none
        )
        assert (
            "no column"
            in cli("predict", clinic / "bad.csv", "--url", running.url, "--config", clinic).err
        )
        (clinic / "token").write_text("cm_00000000_" + "A" * 43)
        refused = cli(
            "predict",
            clinic / "data" / "wdbc.csv",
            "--url",
            running.url,
            "--token",
            f"file:{clinic / 'token'}",
            "--config",
            clinic,
        )
        assert refused.code == 3
    gone = cli("predict", clinic / "data" / "wdbc.csv", "--url", running.url, "--config", clinic)
    assert gone.code == 5
    assert "casemate serve" in gone.err


def test_a_missing_file_or_secret_for_a_prediction_is_a_usage_error_with_a_hint(cli, clinic):
    rows = clinic / "data" / "wdbc.csv"
    for words in (("predict", clinic / "none.csv"), ("predict", rows, "--token", "env:NOT_THERE")):
        answer = cli(*words, "--config", clinic)
        assert answer.code == 2
        assert "hint:" in answer.err


def test_doctor_says_what_it_cannot_enforce(cli, clinic):
    checks = cli("doctor", "--config", clinic, "--format", "json").value
    states = {check["subject"]: check for check in checks}
    assert "rewrite history" in states["audit log"]["advice"]
    assert "no passphrase" in states["key store"]["state"]
    assert states["TLS"]["state"].startswith("TLSv1.3, key exchange ")
    assert ("MLKEM" in states["TLS"]["state"]) == (states["TLS"]["mark"] == "ok")


def test_doctor_says_what_dependencies_would_send_and_that_it_is_off(cli, clinic, monkeypatch):
    def silence():
        checks = cli("doctor", "--config", clinic, "--format", "json").value
        return {
            check["subject"]: check for check in checks if check["subject"].startswith("silence: ")
        }

    said = silence()
    assert {check["mark"] for check in said.values()} == {"ok"}
    assert said["silence: onnxruntime"]["state"].startswith(
        "off by ORT_DISABLE_TELEMETRY=1; would write a device id"
    )
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    assert silence()["silence: onnxruntime"]["mark"] == "note"


def test_doctor_names_what_a_script_imported_before_casemate():
    script = """
import sys, types
sys.modules["mlflow"] = types.ModuleType("mlflow")
from casemate.operations.doctor import silence
for check in silence():
    print(check.mark, check.subject, check.state, check.advice, sep="|")
"""
    bare = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
    done = subprocess.run(
        [sys.executable, "-c", script], env=bare, capture_output=True, text=True, check=True
    )
    late = [line for line in done.stdout.splitlines() if not line.startswith("ok")]
    assert len(late) == 1
    assert late[0].startswith("note|silence: mlflow|was imported before casemate; it may write")
    assert "import casemate before mlflow" in late[0]


def test_a_verified_model_needs_no_project(clinic, cli, tmp_path, monkeypatch):
    import shutil

    assert cli("model", "export", "wdbc", tmp_path / "out", "--config", clinic).code == 0
    shutil.copytree(tmp_path / "out", tmp_path / "elsewhere")
    shutil.rmtree(clinic)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    keys = tmp_path / "elsewhere"
    assert (
        cli(
            "verify",
            tmp_path / "elsewhere",
            "--key",
            keys / "signer.pub",
            "--key",
            keys / "signer-mldsa65.pub",
        ).code
        == 0
    )
    unknown = cli("verify", tmp_path / "elsewhere")
    assert unknown.code == 4
    assert "--key" in unknown.err
    assert cli("verify", tmp_path / "elsewhere", "--key", keys / "signer.pub").code == 4


def test_naughty_strings_are_stored_and_shown_harmlessly(case, cli, clinic):
    from pathlib import Path

    folder = case("vectors/strings")
    path = next(Path(folder).rglob("*.json"), None) or next(
        p for p in Path(folder).rglob("*") if p.is_file()
    )
    strings = (
        json.loads(path.read_text())
        if path.suffix == ".json"
        else path.read_text(errors="replace").splitlines()
    )
    import casemate

    project = casemate.open(clinic)
    texts = [text for text in strings if isinstance(text, str)][:515]
    with project.database.transaction() as tx:
        project.log.append_many(
            tx,
            [
                (f"User::{text}"[:200], "x:y", text[:200], "done", {"text": text[:5000]})
                for text in texts
            ],
        )
    shown = cli("audit", "show", "--last", "600", "--config", clinic, "--format", "json").value
    assert [entry["detail"]["text"] for entry in shown[-len(texts) :]] == [
        text[:5000] for text in texts
    ]
    plain = cli("audit", "show", "--last", "600", "--config", clinic)
    assert plain.code == 0
    assert "\x1b" not in plain.out


def test_a_check_writes_a_page_with_pictures_of_the_columns_and_nothing_of_sensitive_ones(
    fresh, cli, tmp_path
):
    path = fresh / "casemate.toml"
    path.write_text(
        path.read_text().replace(
            "[data.columns]\n", '[data.columns]\nmean_radius = { class = "sensitive" }\n'
        )
    )
    answer = cli(
        "check", "--only", "spectral", "--output", tmp_path / "page.html", "--config", fresh
    )
    assert f"Page: {tmp_path / 'page.html'}" in answer.out
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == page.count("<figcaption>") == 30, (
        "every general column, the target among them, and no identifier"
    )
    assert (
        "<figcaption>mean_texture</figcaption>" in page
        and "<figcaption>mean_radius</figcaption>" not in page
    )
    for said in (
        "held out",
        "Nothing is sealed yet",
        "Under suspicion",
        "what it means",
        "(not shown)",
    ):
        assert said in page
    assert "P0104729" not in page and "<script" not in page
    assert (tmp_path / "page.html").stat().st_mode & 0o077 == 0
    assert not list((fresh / ".casemate" / "datasets").glob("*")), "nothing is sealed"


def test_a_leak_is_told_with_the_lines_to_paste_by_check_and_before_a_run_trains(
    cli, tiny_project, monkeypatch
):
    """And once they are pasted, the same table goes through the data stage."""
    monkeypatch.chdir(tiny_project)
    table = pyarrow.csv.read_csv("t.csv")
    owed = [
        float(row) if value == table["y"][0].as_py() else None
        for row, value in enumerate(table["y"].to_pylist(), 1)
    ]
    pyarrow.csv.write_csv(table.append_column("owed", [owed]), "t.csv")
    looked = cli("check")
    assert (
        looked.code == 1
        and '\n  "owed" = { use = false }\n' in looked.out
        and "quarantine" not in looked.out.partition("Next: ")[2]
    )
    listed = cli("check", "--format", "json").value["findings"]
    assert [one["severity"] for one in listed if one["location"] == "owed"] == ["high"]
    ran = cli("run")
    assert ran.code == 1
    told, _, trained = ran.err.partition("2 train ")
    assert (
        "THIS RUN WILL BE REFUSED for a finding of the data stage" in told
        and '"owed" = { use = false }' in told
        and trained
    )
    assert ran.out.count("it may be known only after the outcome") == 1, "told once"
    text = (tiny_project / "casemate.toml").read_text()
    said = '[data.columns]\n"owed" = { use = false }\n'
    head = "[data.columns]\n"
    edited = text.replace(head, said) if head in text else text + "\n" + said
    (tiny_project / "casemate.toml").write_text(edited)
    assert cli("check").code == 0
