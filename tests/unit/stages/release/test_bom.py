"""Bills of materials: the formats say the same, the official schemas take them, and what is no bill
is told.
"""

import io
import json
import subprocess
import sys
from email.message import Message
from pathlib import Path

import msgspec
import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.schema._res import BOM_JSON_STRICT
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7
from spdx_python_model.bindings import v3_0_1 as spdx_model
from tests.conftest import often
from tests.unit.bills import BILL, DIGEST, OTHER

from casemate.core.errors import ConfigError, VerificationError, WrongSigner
from casemate.core.signatures import Signer
from casemate.stages.release.bom import cyclonedx, cyclonedxfile, files, forms, installed
from casemate.stages.release.bom.changes import WHY, compared
from casemate.stages.release.bom.clusters import clusters
from casemate.stages.release.bom.materials import (
    NOT_KNOWN,
    Bill,
    Data,
    Figure,
    Model,
    Part,
    in_order,
)

TEXTS = st.text('aZ09-._:/@#"<&\\é漢', min_size=1, max_size=8)
OPTIONAL = st.just("") | TEXTS
LICENCES = st.sampled_from(["", "MIT", "Apache-2.0 OR MIT", "our own terms"])
DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
FIGURES = st.lists(
    st.builds(Figure, name=TEXTS, value=st.just("0.5"), low=st.just("0.1"), high=st.just("0.9")),
    max_size=3,
    unique_by=lambda one: one.name,
)
MODELS = st.builds(
    Model,
    name=TEXTS,
    version=OPTIONAL,
    description=OPTIONAL,
    licence=LICENCES,
    task=OPTIONAL,
    family=OPTIONAL,
    architecture=OPTIONAL,
    training=OPTIONAL,
    time=st.sampled_from(["", "2026-11-30T00:17:11Z"]),
    files=st.dictionaries(TEXTS, DIGESTS, max_size=3),
    parameters=st.dictionaries(TEXTS, TEXTS, max_size=3),
    figures=FIGURES.map(lambda found: sorted(found, key=lambda one: one.name)),
    inputs=st.lists(TEXTS, max_size=2),
    outputs=st.lists(TEXTS, max_size=2),
    uses=st.lists(TEXTS, max_size=2, unique=True),
    limits=st.lists(TEXTS, max_size=2),
    tradeoffs=st.lists(TEXTS, max_size=2),
    fairness=st.lists(TEXTS, max_size=2),
)
SETS = st.builds(
    Data,
    name=TEXTS,
    version=OPTIONAL,
    description=OPTIONAL,
    licence=LICENCES,
    digest=st.just("") | DIGESTS,
    rows=st.none() | st.integers(0, 10**9),
    types=st.lists(TEXTS, max_size=2),
    sensitive=st.sampled_from(["", "yes", "no"]),
    columns=st.lists(TEXTS, max_size=2),
    origin=OPTIONAL,
    statistics=st.lists(TEXTS, max_size=2),
)
PARTS = st.lists(
    st.builds(
        Part,
        name=TEXTS,
        version=OPTIONAL,
        kind=st.sampled_from(["library", "file", "platform", "operating-system"]),
        licence=LICENCES,
        author=OPTIONAL,
        digest=st.just("") | DIGESTS,
    ),
    max_size=4,
    unique_by=lambda one: one.name,
)


@st.composite
def bills(draw):
    model, parts = draw(MODELS), draw(PARTS)
    libraries = sorted({one.name for one in parts if one.kind != "file"})
    needs = st.lists(st.sampled_from(libraries), unique=True).map(sorted) if libraries else None
    found = [
        msgspec.structs.replace(one, needs=[] if needs is None else draw(needs)) for one in parts
    ]
    return Bill(
        name=model.name,
        version=model.version,
        time=draw(st.sampled_from(["2026-11-30T00:17:11Z"])),
        revision="1",
        tool="casemate 0.1.0",
        phase="build",
        models=[model],
        data=sorted(
            draw(st.lists(SETS, max_size=2, unique_by=lambda one: one.name)),
            key=lambda one: one.name,
        ),
        parts=sorted(
            (
                msgspec.structs.replace(one, needs=[name for name in one.needs if name != one.name])
                for one in found
            ),
            key=in_order,
        ),
        facts=draw(st.dictionaries(st.sampled_from(["stage", "hardware", "lineage:run"]), TEXTS)),
    )


@settings(max_examples=often(25), deadline=None)
@given(bills())
def test_what_is_written_is_read_again_whatever_it_is_written_in(bill):
    for form in forms.FORMS:
        content = files.written(bill, form)
        assert content == files.written(bill, form)
        found = files.read(content)
        assert found.format == forms.TITLES[form]
        assert msgspec.structs.replace(found, format="") == bill


def faults(document: dict) -> list[str]:
    """What the official schema of the version that a document names has against it.

    The schemas let any `specVersion` stand, so which one is asked must be the document's own.
    """
    path = Path(BOM_JSON_STRICT[SchemaVersion.from_version(document["specVersion"])])
    schema = json.loads(path.read_text())
    assert schema["$id"] == document["$schema"]
    beside = [path.parent / f"{name}.SNAPSHOT.schema.json" for name in BESIDE]
    registry = Registry().with_resources(
        (
            f"http://cyclonedx.org/schema/{one.name}",
            Resource(json.loads(one.read_text()), DRAFT7),
        )
        for one in beside
    )
    checker = Draft7Validator.FORMAT_CHECKER
    judge = Draft7Validator(schema, registry=registry, format_checker=checker)
    return [error.message for error in judge.iter_errors(document)]


BESIDE = ("spdx", "jsf-0.82", "cryptography-defs")


@pytest.mark.parametrize("form", ["cyclonedx-1.6", "cyclonedx-1.7"])
def test_the_official_schema_of_each_cyclonedx_takes_what_is_written_in_it(form):
    document = json.loads(files.written(BILL, form))
    assert document["specVersion"] == form.partition("-")[2]
    assert faults(document) == []
    assert {one["name"]: one["authors"] for one in document["components"] if "authors" in one} == {
        "joblib": [{"name": "Ana"}]
    }
    document["components"][0]["isExternal"] = True  # new in 1.7
    assert bool(faults(document)) is (form == "cyclonedx-1.6")


def test_the_spdx_projects_own_reader_takes_what_is_written_and_knows_every_element():
    content = files.written(BILL, "spdx-3.0")
    found = spdx_model.SHACLObjectSet()
    spdx_model.JSONLDDeserializer().read(io.BytesIO(content), found)
    kinds = {type(one).__name__ for one in found.foreach()}
    assert kinds >= {"ai_AIPackage", "dataset_DatasetPackage", "software_Sbom", "SpdxDocument"}
    assert found.missing_ids == set()  # the bindings write names that the model does not have
    (document,) = found.foreach_type("SpdxDocument")
    profiles = spdx_model.ProfileIdentifierType
    assert {profiles.ai, profiles.dataset} <= {*document.profileConformance}
    (model,) = found.foreach_type("ai_AIPackage")
    assert {one.key: one.value for one in model.ai_metric}["accuracy"] == "0.99 [0.95, 0.999]"
    assert model.ai_useSensitivePersonalInformation == spdx_model.PresenceType.yes


def test_what_the_spdx_model_forbids_is_refused_and_not_written():
    odd = msgspec.structs.replace(BILL, time="2026-11-30T00:17:11Z", models=[ODD])
    with pytest.raises(ConfigError, match="SPDX takes no such bill"):
        files.written(odd, "spdx-3.0")


ODD = Model(name="wdbc", files={"model.onnx": DIGEST}, time="yesterday")


def test_all_seven_clusters_are_there_and_each_of_their_elements_is_filled_or_not_known():
    found = clusters(BILL, "CycloneDX 1.7")
    assert [(one.name, len(one.elements)) for one in found] == [
        ("Metadata", 10),
        ("System Level Properties", 9),
        ("Models", 13),
        ("Dataset Properties", 10),
        ("Infrastructure", 2),
        ("Security Properties", 4),
        ("Key Performance Indicators", 2),
    ]
    said = {element.name: element.said for one in found for element in one.elements}
    assert all(said.values())
    assert said["Model license"] == "Apache-2.0"
    assert (said["SBOM data format name"], said["SBOM data format version"]) == ("CycloneDX", "1.7")
    assert said["Security metrics"] == "membership_auc"
    assert said["Dataset sensitivity"] == "yes: patient_id"
    assert said["Security compliance"] == NOT_KNOWN
    bare = {each.name: each for one in clusters(Bill(name="x")) for each in one.elements}
    assert {name for name, each in bare.items() if each.known} == {"System name"}


@pytest.mark.parametrize("form", forms.FORMS)
def test_a_document_says_of_each_element_what_is_known_or_that_it_is_not(form):
    content = files.written(BILL, form).decode()
    for cluster in clusters(BILL, forms.TITLES[form]):
        for element in cluster.elements:
            assert f"{cyclonedx.G7}{cluster.name}:{element.name}" in content
    assert content.count(f'"{NOT_KNOWN}"') >= 4


def changed(**fields):
    return msgspec.structs.replace(BILL, **fields)


def part(name, **fields):
    return [
        msgspec.structs.replace(one, **fields) if one.name == name else one for one in BILL.parts
    ]


def model(**fields):
    return [msgspec.structs.replace(BILL.models[0], **fields)]


def data(**fields):
    return [msgspec.structs.replace(BILL.data[0], **fields)]


@pytest.mark.parametrize(
    ("after", "name", "what", "why"),
    [
        (changed(models=model(files={"model.onnx": OTHER})), "wdbc", "file model.onnx", "files"),
        (changed(models=model(training="private")), "wdbc", "training", "training"),
        (changed(models=model(licence="")), "wdbc", "licence", "unlicensed"),
        (changed(models=model(parameters={})), "wdbc", "hyperparameter", ""),
        (changed(models=model(limits=["a", *BILL.models[0].limits])), "wdbc", "limit", "limit"),
        (changed(models=model(figures=[])), "wdbc", "figure accuracy", "gone"),
        (changed(data=data(version="x", digest=DIGEST)), "wdbc", "source", "data"),
        (changed(data=data(columns=["patient_id", "age"])), "wdbc", "sensitive col", "sensitive"),
        (changed(data=data(rows=570)), "wdbc", "rows", ""),
        (changed(parts=part("joblib", version="1.6")), "joblib", "version", ""),
        (changed(parts=part("joblib", version="1.4")), "joblib", "version", "older"),
        (changed(parts=part("joblib", licence="GPL-3.0-only")), "joblib", "licence", "licence"),
        (changed(parts=part("joblib", licence="")), "joblib", "licence", "unlicensed"),
        (changed(parts=part("scikit-learn", digest=OTHER)), "scikit-learn", "content", "content"),
        (changed(parts=[*BILL.parts, Part(name="new")]), "new", "component", "added"),
        (changed(parts=BILL.parts[1:]), BILL.parts[0].name, "component", ""),
        (changed(facts=BILL.facts | {"own-code:a.py": "x"}), "wdbc", "own-code", "own-code"),
        (changed(facts=BILL.facts | {"verdict": "refused"}), "wdbc", "verdict", "verdict"),
    ],
)
def test_a_comparison_names_what_differs_and_why_it_matters(after, name, what, why):
    found = compared(BILL, after)
    (one,) = [each for each in found if each.name == name and each.what.startswith(what)]
    assert one.matters == (WHY[why] if why else "")
    assert compared(after, after) == []


def test_what_matters_comes_first():
    newer = part("joblib", version="1.6")
    after = changed(
        parts=[*newer, Part(name="a"), Part(name="z")], models=model(training="private")
    )
    found = compared(BILL, after)
    assert [bool(one.matters) for one in found] == [True, True, True, False]
    assert [one.name for one in found] == ["a", "z", "wdbc", "joblib"]


def test_a_figure_matters_where_its_intervals_do_not_meet():
    def of(value, low, high):
        return changed(
            models=model(figures=[Figure(name="accuracy", value=value, low=low, high=high)])
        )

    before = of("0.9", "0.85", "0.95")
    (near,) = compared(before, of("0.94", "0.9", "0.98"))
    (far,) = compared(before, of("0.7", "0.6", "0.8"))
    assert (near.matters, far.matters) == ("", WHY["figure"])


def test_format_order_time_and_writer_are_no_difference():
    read = [files.read(files.written(BILL, form)) for form in forms.FORMS]
    other = changed(time="2027-01-01T00:00:00Z", tool="x 2", parts=BILL.parts[::-1], revision="7")
    assert [compared(BILL, one) for one in [*read, other]] == [[], [], [], []]


def test_names_of_packages_are_compared_as_python_compares_them():
    old = changed(parts=[Part(name="Foo_Bar", version="1")])
    new = changed(parts=[Part(name="foo.bar", version="1", purl="pkg:pypi/foo-bar@1")])
    assert compared(old, new) == []
    npm = changed(parts=[Part(name="foo-bar", version="1", purl="pkg:npm/foo-bar@1")])
    assert {one.how for one in compared(old, npm)} == {"added", "removed"}


def document(**fields):
    found = json.loads(files.written(BILL, "cyclonedx-1.6"))
    return json.dumps(found | fields).encode()


def nested(depth):
    text = '{"name":"a","type":"library"}'
    for _ in range(depth):
        text = f'{{"name":"a","type":"library","components":[{text}]}}'
    return text


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no JSON object"),
        (b"\x00\xff", "no JSON object"),
        (b"[]", "no JSON object"),
        (b"{}", "no bill of materials"),
        (b'{"a":' * 100_000, "no JSON object"),
        (b"<?xml version='1.0'?><bom/>", "XML"),
        (b'{"spdxVersion": "SPDX-2.3"}', "'SPDX-2.3' is not read"),
        (document(specVersion="1.1"), "'1.1' is not known"),
        (document(specVersion="2.0"), "'2.0' is not known"),
        (document(specVersion=1.6), "'1.6' is not known"),
        (b'{"bomFormat": "CycloneDX", "specVersoin": "1.6"}', "without specVersion is not known"),
        (document(components=7), "no CycloneDX document"),
        (document(components=[{"name": 7, "type": "library"}]), "no CycloneDX document"),
        (document(components=[json.loads(nested(20))]), "16 levels"),
        (
            b'{"bomFormat":"CycloneDX","specVersion":"1.6","components":[%s]}'
            % nested(5000).encode(),
            "deep|JSON",
        ),
        (b'{"@context": "x", "@graph": 7}', "no list of elements"),
        (b'{"@context": "https://evil.example/c.jsonld", "@graph": []}', "is not SPDX 3.0's"),
        (b'{"@context": 7, "@graph": []}', "no SPDX 3.0 document"),
        (b'{"@context": "x", "@graph": [{"type": 7}]}', "no SPDX 3.0 document"),
    ],
)
def test_what_is_no_bill_that_is_known_here_is_told(content, told):
    with pytest.raises(ConfigError, match=told):
        files.read(content)


def test_what_is_too_large_is_not_read(monkeypatch, tmp_path):
    monkeypatch.setattr(files, "MOST", 100)
    (tmp_path / "bill").write_bytes(b" " * 101)
    for read in (lambda: files.read(b" " * 101), lambda: files.content_of(tmp_path / "bill")):
        with pytest.raises(ConfigError, match="larger than"):
            read()
    with pytest.raises(ConfigError, match="cannot be read"):
        files.content_of(tmp_path)
    monkeypatch.undo()
    monkeypatch.setattr(cyclonedxfile, "MOST_PARTS", 2)
    with pytest.raises(ConfigError, match="more than 2 components"):
        files.read(
            b'{"bomFormat":"CycloneDX","specVersion":"1.6","components":[%s]}'
            % b",".join([nested(0).encode()] * 3)
        )


SAID = files.Signed(project="clinic", reference="wdbc@3", run="r", model=DIGEST)


@pytest.fixture(scope="module")
def signer():
    return Signer.generate()


@pytest.fixture
def signed(signer, tmp_path):
    path = tmp_path / "bill.json"
    path.write_bytes(files.written(BILL, "cyclonedx-1.7"))
    files.signature_of(path).write_bytes(files.sign(path.read_bytes(), SAID, signer))
    return path


def test_a_signed_bill_says_whose_it_is_and_of_which_model(signed, signer):
    bill, said = files.verified(signed, signer.verifier)
    assert (bill.reference, said) == ("wdbc@3", SAID)


def test_a_bill_that_was_changed_is_unsigned_or_a_strangers_is_refused(signed, signer, tmp_path):
    with pytest.raises(WrongSigner):
        files.verified(signed, Signer.generate().verifier)
    signature, content = files.signature_of(signed), signed.read_bytes()
    signed.write_bytes(content.replace(b"1.9", b"1.8", 1))
    with pytest.raises(VerificationError, match="changed after signing"):
        files.verified(signed, signer.verifier)
    signed.write_bytes(content)
    lying = msgspec.structs.replace(SAID, reference="other@1")
    signature.write_bytes(files.sign(content, lying, signer))
    with pytest.raises(VerificationError, match="signed as of other@1"):
        files.verified(signed, signer.verifier)
    digests = {files.SUBJECT: DIGEST}
    signature.write_bytes(signer.sign_statement(digests, "https://other.example/v1", {}))
    with pytest.raises(VerificationError, match="expected"):
        files.verified(signed, signer.verifier)
    signature.write_bytes(signer.sign_statement(digests, files.PREDICATE, {}))
    with pytest.raises(VerificationError, match="says nothing of a bill"):
        files.verified(signed, signer.verifier)
    signature.unlink()
    with pytest.raises(VerificationError, match="is unsigned"):
        files.verified(signed, signer.verifier)


def metadata(**fields):
    found = Message()
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            found[name.replace("_", "-")] = one
    return found


@pytest.mark.parametrize(
    ("told", "licence"),
    [
        (metadata(License_Expression="MIT OR Apache-2.0", License="x"), "MIT OR Apache-2.0"),
        (metadata(License="mit"), "MIT"),
        (metadata(License="Copyright 2020\nAll of a long text"), "Copyright 2020"),
        (
            metadata(License="BSD", Classifier=["License :: OSI Approved :: BSD License"]),
            "BSD License",
        ),
        (metadata(Classifier=["License :: OSI Approved", "Topic :: Security"]), ""),
        (metadata(License="UNKNOWN"), ""),
        (metadata(License="x" * 10_000), "x" * installed.MOST_LICENCE),
    ],
)
def test_a_packages_licence_is_what_its_authors_declare(told, licence):
    assert installed._licence(told) == licence


@pytest.mark.parametrize(
    ("told", "author"),
    [
        (metadata(Author="Ana, Ben", Author_email="a@x.example"), "Ana, Ben"),
        (metadata(Author_email="Ana <a@x.example>, b@x.example"), "Ana"),
        (metadata(Author_email="a@x.example"), ""),
        (metadata(Maintainer_email="Ben B. <b@x.example>"), "Ben B."),
        (metadata(Author="ana@x.example"), ""),
        (metadata(), ""),
    ],
)
def test_a_packages_author_is_named_without_an_address(told, author):
    assert installed._author(told) == author


def test_a_packages_content_does_not_depend_on_who_installed_it_where():
    lines = ["a/b.py,sha256=x,3", "a-1.dist-info/METADATA,sha256=y,2", "a/c.pyc,,"]
    record = "\n".join(lines)
    moved = "\n".join(
        [*lines[::-1], "../../../bin/a,sha256=z,9", "a-1.dist-info/INSTALLER,sha256=u,3"]
    )
    assert installed._content(record) == installed._content(moved) != ""
    assert installed._content(record.replace("=x", "=w")) != installed._content(record)
    assert installed._content("") == ""


def test_what_is_installed_is_the_same_once_somebody_imported_another_reader_of_metadata():
    pytest.importorskip("importlib_metadata", reason="comes with dask")
    names = "from casemate.stages.release.bom.installed import packages; print(packages())"
    first, second = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        for code in (names, f"import importlib_metadata; {names}")
    )
    assert (second.returncode, second.stderr) == (0, "")
    assert first.stdout == second.stdout


def test_what_is_installed_is_named_with_what_it_needs():
    found = {one.name: one for one in installed.packages()}
    assert found["scikit-learn"].licence == "BSD-3-Clause"
    assert {"numpy", "scipy", "joblib"} <= {*found["scikit-learn"].needs}
    assert found["scikit-learn"].purl == f"pkg:pypi/scikit-learn@{found['scikit-learn'].version}"
    assert all(one.version for one in found.values())
