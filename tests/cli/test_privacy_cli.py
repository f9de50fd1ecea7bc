"""`casemate privacy scan`, `deidentify` and `key`: what is printed, and how they end."""

import json

import pytest

TABLE = (
    "subject_id,email,age,ward,note\n"
    "1,jane.roe@x.org,93,a,Jane wrote on 3/4/2024 that all is well now\n"
    "2,k@y.org,44,b,no news since the visit in the old house\n"
    "3,l@z.org,45,a,asked for a call at (205) 325-8100 this week\n"
)


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(TABLE)
    return path


def test_a_scan_ends_with_1_where_it_finds_something_and_shows_no_value(cli, table):
    found = cli("privacy", "scan", table)
    assert found.code == 1
    assert "e-mail address" in found.out
    assert "aaaa.aaa@a.aaa" in found.out
    assert "jane" not in found.out.lower()
    assert "Not looked for:" in found.out
    told = json.loads(cli("privacy", "scan", table, "--format", "json").out)
    assert "jane" not in json.dumps(told).lower()
    kinds = {
        one["column"]: sorted(e["kind"] for e in one["evidence"])
        for one in told["tables"][0]["columns"]
    }
    assert kinds == {
        "subject_id": ["other-id"], "email": ["email"], "age": ["age"], "ward": [], "note": ["date", "phone"],
    }  # fmt: skip


def test_a_clean_table_ends_with_0(cli, tmp_path):
    (tmp_path / "t.csv").write_text("1.5,2\n1.25,7\n")
    found = cli("privacy", "scan", tmp_path / "t.csv", "--header", "x,y")
    assert (found.code, "2 rows, 2 columns, no identifiers found" in found.out) == (0, True)


def test_free_text_is_named_where_nothing_else_is_found(cli, tmp_path):
    rows = "".join(f"{at},nothing new since visit {at} of the year\n" for at in range(1, 9))
    (tmp_path / "t.csv").write_text("x,note\n" + rows)
    found = cli("privacy", "scan", tmp_path / "t.csv")
    assert (found.code, "no identifiers found" in found.out) == (0, True)
    assert "Free text: note" in found.out


def test_names_like_cells_are_counted_and_outlined(cli, tmp_path):
    (tmp_path / "t.csv").write_text("P1,Quigley,1931-05-02\nP2,Okafor,1980-01-31\n")
    found = cli("privacy", "scan", tmp_path / "t.csv")
    assert (found.code, "1 columns are called like what cells hold" in found.out) == (1, True)
    assert "Quigley" not in found.out


def test_a_path_that_is_not_there_is_the_caller_s_fault(cli, tmp_path):
    assert cli("privacy", "scan", tmp_path / "no.csv").code == 2


def test_a_table_is_written_once_every_column_is_accounted_for(cli, table, tmp_path):
    out = tmp_path / "o.csv"
    words = ["privacy", "deidentify", table, "-o", out]
    refused = cli(*words)
    assert (refused.code, out.exists()) == (1, False)
    assert "CM-IDENTIFIERS" in refused.err
    assert "'note'" in refused.err
    done = cli(*words, "--keep", "note=read by a nurse")
    assert done.code == 0
    assert "actual knowledge" in done.out
    assert out.read_text().splitlines()[:2] == [
        "age,ward,note",
        "90,a,Jane wrote on [DATE] that all is well now",
    ]
    assert "exists" in cli(*words, "--keep", "note=read by a nurse").err
    assert cli(*words, "--drop", "note", "--force").code == 0
    assert "note" not in out.read_text()


def test_pseudonyms_need_a_key_from_a_file_and_join(cli, table, tmp_path):
    key = tmp_path / "key"
    assert cli("privacy", "key", key).code == 0
    again = cli("privacy", "key", key)
    assert (again.code, key.read_text().strip() in again.out + again.err) == (2, False)
    subjects = []
    for name in ("a.csv", "b.csv"):
        done = cli(
            "privacy", "deidentify", table, "-o", tmp_path / name, "--subject", "subject_id",
            "--key", f"file:{key}", "--drop", "note", "--format", "json",
        )  # fmt: skip
        assert done.code == 0, done.err
        assert key.read_text().strip() not in done.out
        rows = (tmp_path / name).read_text().splitlines()[1:]
        subjects.append([row.split(",")[0] for row in rows])
    assert subjects[0] == subjects[1]
    assert len({len(one) for one in subjects[0]} | {32}) == 1
    secret = cli("privacy", "deidentify", table, "-o", tmp_path / "c.csv", "--key", "s3cret" * 9)
    assert (secret.code, "env:NAME" in secret.err) == (2, True)


def test_groups_are_told_before_and_after(cli, tmp_path):
    rows = "".join(f"{20 + at % 30},{'fm'[at % 2]},{at % 3}\n" for at in range(60))
    (tmp_path / "t.csv").write_text("age,sex,ill\n" + rows)
    done = cli(
        "privacy", "deidentify", tmp_path / "t.csv", "-o", tmp_path / "o.csv", "--method",
        "k-anonymity", "--quasi", "age", "sex", "--sensitive", "ill", "-k", "5", "-l", "2",
    )  # fmt: skip
    assert done.code == 0, done.err
    before, after = (
        line for line in done.out.splitlines() if " people in " in line and "k =" in line
    )
    assert "k = 2" in before
    assert "l = 3 (ill)" in after
    assert "expert's determination" in done.out


@pytest.mark.parametrize(
    "words", [["--keep", "note"], ["--as", "x"], ["--method", "magic"], ["--as", "age=nmae"]]
)
def test_options_that_say_nothing_are_refused(cli, table, tmp_path, words):
    assert cli("privacy", "deidentify", table, "-o", tmp_path / "o.csv", *words).code == 2
