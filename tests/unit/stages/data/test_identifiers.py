"""Identifiers in tables: what is found by check digit, shape and name, and what is not."""

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from casemate.config.deidentify import Identifier
from casemate.core.errors import ConfigError
from casemate.stages.data.identifiers import checks, patterns
from casemate.stages.data.identifiers.columns import look
from casemate.stages.data.identifiers.kinds import KINDS, ORDER, called, words
from casemate.stages.data.identifiers.scan import MOST_FILES, scan
from casemate.stages.data.identifiers.shapes import PATTERNS

BENCH = Path(__file__).parents[4] / "bench" / "privacy" / "identifiers.py"
CARDS = ["4111111111111111", "5500005555555559", "340000000000009", "6011000000000004"]


def found(**columns):
    """{column: (kind, sure, inside)} of what is most certain in each."""
    table = pa.table({name: pa.array(cells) for name, cells in columns.items()})
    return {
        one.column: (one.evidence[0].kind, one.evidence[0].sure, one.evidence[0].inside)
        for one in look(table)
        if one.evidence
    }


def test_all_18_paragraphs_have_a_kind():
    assert {kind.letter for kind in KINDS.values()} == set("ABCDEFGHIJKLMNOPQR")
    assert set(KINDS) == set(get_args(Identifier))
    assert set(ORDER) == {kind for kind, one in KINDS.items() if one.called}


@pytest.mark.parametrize(
    ("name", "cells", "expected"),
    [
        ("x", ["DE89370400440532013000", "GB82WEST12345698765432"], ("account", "checksum", False)),
        ("x", CARDS, ("account", "checksum", False)),
        ("x", ["1HGCM82633A004352", "1M8GDM9AXKP042788"], ("vehicle", "checksum", False)),
        ("x", ["a.b@c.org", "d@e.co.uk"], ("email", "shape", False)),
        ("x", ["536-90-4399", "219-09-9999"], ("ssn", "shape", False)),
        ("x", ["2019-03-04", "2020-01-31"], ("date", "shape", False)),
        ("x", ["04/13/2019", "01/31/2020"], ("date", "shape", False)),
        ("x", ["10.1.2.3", "192.168.0.1"], ("ip", "shape", False)),
        ("x", ["(205) 325-8100", "205-325-8110"], ("phone", "shape", False)),
        ("fax", ["(205) 325-8100", "205-325-8110"], ("fax", "shape", False)),
        ("PhoneNumber", ["2053258100", "2053258110"], ("phone", "name", False)),
        ("ZipCode", ["35233", "01234"], ("zip", "name", False)),
        ("surname", ["Meyer", "Abel"], ("name", "name", False)),
        ("city", ["Ulm", "Bonn"], ("place", "name", False)),
        ("age", ["34", "91"], ("age", "name", False)),
        ("subject_id", ["34", "91"], ("other-id", "name", False)),
        ("patient", ["000279", "000280"], ("other-id", "name", False)),
        ("patient", ["Roe, Jane", "Abel"], ("name", "name", False)),
        ("note", ["call Mr. Miller today", "no change"], ("name", "shape", True)),
        ("x", [b"\x89PNG\r\n", b"\xff\xd8\xff\xe0"], ("photo", "shape", False)),
        ("x", [datetime.date(2019, 3, 4), None], ("date", "shape", False)),
    ],
)  # fmt: skip
def test_a_column_is_known_by_check_digit_shape_or_name(name, cells, expected):
    assert found(**{name: cells})[name] == expected


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("PhoneService", ["Yes", "No", "No phone service"]),
        ("glucose", ["105.5", "98.25", "1000000"]),
        ("cells", [str(2_000_000_000 + 7919 * at) for at in range(500)]),
        ("platelets", [4_000_000_000_000_000 + 7919 * at for at in range(500)]),
        ("age", ["34", "89", None]),
        ("age_days", ["340", "1290", "4000"]),
        ("house_age", ["34", "52"]),
        ("drug_name", ["aspirin", "heparin"]),
        ("admission_type_id", [str(at % 8) for at in range(500)]),
        ("year", ["2019", "2020"]),
        ("version", ["1.2.3", "1.10.4"]),
        ("duration", ["10:30:00", "11:15:20"]),
        ("zip", ["352", "000"]),
        ("identity", ["yes", "no"]),
        ("patient", [0, 1] * 20),
        ("empty", pa.nulls(3, pa.string())),
        ("flag", [True, False]),
        ("medicalrecords", ["3", "4"]),
        ("icd9", ["99591", "25000", "V4581", "E8788"]),
    ],
)
def test_sound_columns_are_not_suspected(name, cells):
    assert found(**{name: cells}) == {}


def test_ids_that_pass_a_check_digit_by_chance_are_judged_by_their_share():
    right = [str(4_000_000_000_000_000 + at) for at in range(0, 3000, 7)]
    wrong = [one for one in right if not checks.is_card(one)]
    right = [one for one in right if checks.is_card(one)]
    assert 30 < len(right) < len(wrong) / 8
    assert found(x=right + wrong) == {}
    assert found(x=right + wrong[:20])["x"][:2] == ("account", "checksum")


def test_nothing_of_a_value_is_shown():
    table = pa.table({"mail": ["jane.roe@clinic.org"], "name": ["Roe, Jane"], "id": ["AB-1234"]})
    told = b"".join(one_.to_json() for one in look(table) for one_ in one.evidence)
    for secret in (b"jane", b"Roe", b"clinic", b"1234", b"AB"):
        assert secret not in told
    assert patterns.masked("Zoë-7\x1b[31m") == "aaa-9?[99a"


def test_names_of_columns_are_read_as_people_write_them():
    assert words("patientFirstName2") == "patient first name 2"
    assert called("patient_email")[0] == "email"
    assert called("Geburtsdatum") == []  # a date is known by its cells
    assert called("PLZ")[0] == "zip"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "name") for name in ("firstname", "lastname", "LASTNAME", "username", "lname")),
        *((name, "name") for name in ("patientname", "fname", "pt_name")),
        *((name, "mrn") for name in ("patientid", "medicalrecordnumber")),
        ("socialsecuritynumber", "ssn"),
        ("streetaddress", "place"),
        ("postal", "zip"),
        ("emailaddress", "email"),
        ("cellphone", "phone"),
    ],
)
def test_names_written_together_are_believed(name, kind):
    assert called(name)[0] == kind


@pytest.mark.parametrize("name", ["drug_name", "filename", "hostname", "tname"])
def test_names_of_things_are_no_names_of_people(name):
    assert "name" not in called(name)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("2053258100 is the number", "[PHONE] is the number"),
        ("phone:2053258100, at night", "phone:[PHONE], at night"),
        ("MRS. QUIGLEY is well", "[NAME] is well"),
        ("seen by Dr. van der Berg today", "seen by [NAME] today"),
        ("seen by Dr van den Berg and Mr. d'Angelo", "seen by [NAME] and [NAME]"),
        ("ill since 2024-03, well in 2023-12", "ill since [DATE], well in [DATE]"),
        ("2024-03 was bad", "[DATE] was bad"),
        ("on 03.04.24 and 3-4-24 and 13.04.2024", "on [DATE] and [DATE] and [DATE]"),
    ],
)
def test_what_notes_hold_goes_as_people_write_it(text, left):
    assert patterns.redacted(text)[0] == left


@pytest.mark.parametrize(
    "text",
    ["2009-10", "MR BRAIN without contrast", "MS LESIONS", "1.10.24", "2053258100", "BP 120-80"],
)
def test_what_only_looks_like_it_stays(text):
    assert patterns.redacted(text) == (text, 0)


def test_an_identifier_of_the_row_that_stands_in_no_telling_column_is_found_in_text():
    text = "Seen 3/14/2019, MRN: 4482910, from 1720 University Blvd, Birmingham, AL 35233."
    assert patterns.redacted(text) == (
        "Seen [DATE], MRN: [MRN], from [PLACE], Birmingham, AL [ZIP].",
        4,
    )
    clinical = "BP 120/80, 12.5 mg at 10:30:00, T2 N0, pH 7.41, 2 x 500 mg, right neck 3 cm"
    assert patterns.redacted(clinical) == (clinical, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "evil",
    ["a" * 10**5, "1 " * 10**5, "1-" * 10**5, "a.b@" * 25_000, ":" * 10**5, "A " * 10**5,
     "0123456789abc " * 10**4, "Dr A" * 10**4, "www." * 25_000, "12 ab " * 10**4, "01 01 " * 10**4],
)  # fmt: skip
def test_no_text_makes_a_pattern_work_for_ever(evil):
    # one with a repetition inside a repetition would not come back
    assert len(patterns.hits(evil)) <= len(evil) / 4


def test_a_loose_pattern_lets_everything_through_that_the_exact_one_finds():
    text = (
        "x.y@z.org https://a.b/c 00:1B:44:11:3A:B7 3f2504e0-4f89-11d3-9a0c-0305e82c3301 10.1.2.3"
        " fe80::1ff:fe23:4567:890a face.jpg DE89370400440532013000 1HGCM82633A004352 fax"
        " 205-325-8100 536-90-4399 943 476 5919 member id ABC-99281 1EG4-TE5-MK73 plate AB 123"
        " licence D1234567 account 99281-22 serial SN-99281X (01)00643169007222 fingerprint"
        " FP-88213 4111111111111111 (205) 325-8100 or 2053258100 or 0113 4960012 35233-1234"
        " Ulm, AL 35233 12 Oak Street 8 Adams Valley 2019-01-02 1/2/2019 May 3, 2019 a 93-year-old"
        " aged 95 Dr. Roe AB1234563 since 2024-03"
    )
    met = set()
    for pattern in PATTERNS:
        if any(
            pattern.check is None or pattern.check(one[0]) for one in pattern.exact.finditer(text)
        ):
            met.add(pattern)
            assert patterns.candidates(pa.array([text]))[pattern][0].as_py(), pattern
    anchored = {one for one in PATTERNS if one.exact.pattern.startswith("^")}
    assert len(met) >= len(PATTERNS) - len(anchored) - 3


def test_a_folder_is_walked_within_bounds_and_what_is_no_table_is_told(tmp_path):
    (tmp_path / "a").mkdir()
    pq.write_table(pa.table({"email": ["a@b.org"]}), tmp_path / "a" / "t.parquet")
    (tmp_path / "clean.csv").write_text("x,y\n1,2\n3,4\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    (tmp_path / ".hidden.csv").write_text("email\na@b.org\n")
    (tmp_path / "link.csv").symlink_to(tmp_path / "clean.csv")
    told = scan(tmp_path)
    assert [Path(one.path).name for one in told.tables if one.found] == ["t.parquet"]
    assert [Path(one.path).name for one in told.tables] == ["clean.csv", "t.parquet"]
    assert [Path(one.path).name for one in told.not_read] == ["broken.parquet"]
    assert not told.is_clean
    for at in range(MOST_FILES + 1):
        (tmp_path / f"{at}.txt").touch()
    with pytest.raises(ConfigError, match="more than 1000 files"):
        scan(tmp_path)


def test_the_extra_is_named_where_its_libraries_are_missing(monkeypatch):
    checks.require_libraries.cache_clear()
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    with pytest.raises(ConfigError, match=r"casemate\[deidentify\]"):
        look(pa.table({"x": [1]}))


def test_of_a_table_without_a_header_line_no_name_is_told(tmp_path):
    (tmp_path / "t.csv").write_text("P1,Quigley,1931-05-02\nP2,Okafor,1980-01-31\n")
    told = scan(tmp_path / "t.csv")
    assert (told.tables[0].names_that_tell, told.is_clean) == (1, False)
    assert b"Quigley" not in told.to_json()
    assert b"1931" not in told.to_json()
    assert scan(tmp_path / "t.csv", ["a", "b", "c"]).tables[0].names_that_tell == 0


def test_a_clean_table_is_said_to_be_clean_and_what_was_not_looked_for(tmp_path):
    (tmp_path / "t.csv").write_text("x,y\n1,2\n3,4\n")
    told = scan(tmp_path / "t.csv")
    assert told.is_clean
    assert any("names of people in free text" in one for one in told.not_looked_for)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("datasets/telco/Telco-Customer-Churn.csv", {"customerID": "other-id"}),
        ("datasets/drift_elec2/elec.csv", {}),
        ("datasets/pima/pima-indians-diabetes.csv", {}),
        ("datasets/islp/Caravan.csv", {}),
        (
            "datasets/nannyml/titanic_reference.csv",
            {"PassengerId": "other-id", "Name": "name", "home.dest": "place"},
        ),
        (
            "datasets/dirty_hospital/hospital.csv",
            {"Address1": "place", "City": "place", "ZipCode": "zip", "CountyName": "place",
             "PhoneNumber": "phone"},
        ),
        (
            "datasets/mimic3demo/PRESCRIPTIONS.csv.gz",
            {"row_id": "other-id", "subject_id": "other-id", "hadm_id": "mrn", "icustay_id": "mrn",
             "startdate": "date", "enddate": "date"},
        ),
    ],
)  # fmt: skip
def test_of_a_real_table_nothing_else_is_suspected(case, name, expected):
    told = scan(case(name)).tables[0]
    assert {one.column: one.evidence[0].kind for one in told.found} == expected


@pytest.mark.slow
def test_planted_identifiers_of_all_18_kinds_are_found_and_gone():
    done = subprocess.run(
        [sys.executable, BENCH, "60"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert min(told["structured_found"].values()) >= 0.99
    assert min(told["structured_gone"].values()) >= 0.99
    assert min(told["text_gone"].values()) >= 0.95
    assert told["names_in_text"] < 0.5, "then say so in the docs"
    assert told["false_findings"] == []


def exported(estimator, frame, target, folder):
    """An ONNX file as scikit-learn's users export it."""
    from skl2onnx import to_onnx

    estimator.fit(frame, target)
    path = folder / "model.onnx"
    path.write_bytes(to_onnx(estimator, frame[:1]).SerializeToString())
    return path


def test_the_names_that_an_encoder_keeps_are_found_in_the_model(tmp_path):
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame = pd.DataFrame(
        {
            "surname": ["Quigley", "Okafor", "Lindqvist", "Roe"] * 5,
            "contact": ["a@b.org", "c@d.org", "e@f.org", "g@h.org"] * 5,
            "ward": ["a", "b"] * 10,
        }
    )
    encoder = make_column_transformer(
        (OneHotEncoder(), ["surname"]), (OneHotEncoder(), ["contact"]), (OneHotEncoder(), ["ward"])
    )
    path = exported(make_pipeline(encoder, LogisticRegression()), frame, [0, 1] * 10, tmp_path)
    told = scan(path).tables[0]
    found = {one.column: one.evidence[0].kind for one in told.found}
    assert found == {"surname": "name", "contact": "email"}
    assert told.rows_kept == 0


def test_a_model_that_keeps_rows_is_told(tmp_path):
    import numpy as np
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.svm import SVC

    rows = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    support = SVC()
    path = exported(support, rows, np.arange(60) % 2, tmp_path)
    assert scan(path).tables[0].rows_kept == len(support.support_)
    path = exported(KNeighborsClassifier(), rows, np.arange(60) % 2, tmp_path)
    told = scan(path)
    assert told.tables[0].rows_kept == 60
    assert not told.is_clean


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    for content in (b"", b"PAR1" * 10, b"\x08"):
        (tmp_path / "m.onnx").write_bytes(content)
        assert scan(tmp_path).not_read[0].why.endswith("is no ONNX graph")


def test_a_folder_that_cannot_be_listed_is_told_as_not_read(tmp_path, shut):
    (tmp_path / "t" / "b").mkdir(parents=True)
    (tmp_path / "t" / "a.csv").write_text("x\n1\n")
    with shut(tmp_path / "t" / "b") as closed:
        found = scan(closed.parent)
    assert [one.path for one in found.tables] == ["t/a.csv"]
    assert [(one.path, one.why) for one in found.not_read] == [
        ("t/b", "cannot be read: Permission denied")
    ]
