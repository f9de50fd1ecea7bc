"""Other people's tools read what we write, and we read or refuse what they write."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.conftest import command, serving

import casemate
from casemate.config import DataTable
from casemate.core.errors import DataError, RequestError, VerificationError
from casemate.core.signatures import Signer, pae
from casemate.serve.protocols import oip
from casemate.stages.data import source
from casemate.stages.release import bundle

TOOLS = Path(sys.executable).parent


@pytest.fixture
def exported(clinic, tmp_path):
    casemate.open(clinic).models["wdbc"].export(tmp_path / "out")
    return tmp_path / "out"


def stock(*words) -> subprocess.CompletedProcess:
    return subprocess.run(
        [TOOLS / "model_signing", *map(str, words)], capture_output=True, text=True, check=False
    )


def test_the_stock_model_signing_tool_accepts_our_bundle_and_refuses_a_change(exported):
    words = (
        "verify",
        "key",
        exported / "model",
        "--signature",
        exported / "model.sig",
        "--public_key",
        exported / "signer.pub",
    )
    assert stock(*words).returncode == 0
    with (exported / "model" / "model.onnx").open("ab") as file:
        file.write(b"x")
    assert stock(*words).returncode != 0


FILES = {
    "model.json": b"{}",
    "a/b c.txt": b"1",
    "a.txt": b"2",
    "A/z": b"3",
    "\u00e4.bin": b"4",
    "a/c/d": b"5",
    "empty": b"",
}
"""Names that different orders would put in different places."""


@pytest.fixture
def signed(tmp_path):
    """(signer, folder of the model, a bundle of ours over it)."""
    signer = Signer.generate()
    for name, content in FILES.items():
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_bytes(content)
    (tmp_path / "signer.pub").write_bytes(signer.verifier.pems[0])
    return signer, tmp_path / "model", bundle.sign(FILES, signer)


def stock_verify(folder, content: bytes) -> None:
    """What the stock tool does, in this process; ValueError and others when it refuses."""
    from model_signing import verifying

    (folder.parent / "sig").write_bytes(content)
    key = folder.parent / "signer.pub"
    verifying.Config().use_elliptic_key_verifier(public_key=key).verify(
        folder, folder.parent / "sig"
    )


def stock_sign(signer, folder) -> dict:
    """The stock library's bundle over a folder."""
    from cryptography.hazmat.primitives import serialization as s
    from model_signing import signing

    key, out = folder.parent / "key.pem", folder.parent / "stock.sig"
    key.write_bytes(
        signer.classical.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    )
    signing.Config().use_elliptic_key_signer(private_key=key).sign(folder, out)
    return json.loads(out.read_bytes())


def test_what_we_sign_says_the_same_as_what_the_stock_tool_signs(signed):
    signer, folder, ours = signed
    ours, theirs = json.loads(ours), stock_sign(signer, folder)
    said, expected = (
        json.loads(base64.b64decode(document["dsseEnvelope"].pop("payload")))
        for document in (ours, theirs)
    )
    for statement in (said, expected):
        statement["predicate"]["serialization"]["ignore_paths"].sort()  # a set there: in any order
    assert said == expected
    first, second = ours["dsseEnvelope"].pop("signatures"), theirs["dsseEnvelope"].pop("signatures")
    assert (len(first), len(second), first[0].get("keyid"), second[0].get("keyid")) == (
        2,
        1,
        "",
        "",
    )
    assert ours == theirs


def test_a_bundle_of_the_stock_library_with_our_second_signature_verifies_as_models_of_casemate_0_1_have_it(
    signed,
):
    signer, folder, _ = signed
    document = stock_sign(signer, folder)
    document["dsseEnvelope"] = signer.countersign(document["dsseEnvelope"])
    envelope, _ = bundle.envelope_of(json.dumps(document).encode(), signer.verifier)
    statement = signer.verifier.verify_statement(envelope, bundle.PREDICATE)
    assert bundle.resources_of(statement).keys() == FILES.keys()


def repacked(content: bytes, change) -> bytes:
    """The bundle with a changed payload under the same signatures."""
    document = json.loads(content)
    statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    change(statement)
    document["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(statement).encode()).decode()
    return json.dumps(document).encode()


def test_the_stock_library_accepts_our_bundle_and_refuses_every_change_of_files_or_statement(
    signed,
):
    from cryptography.exceptions import InvalidSignature

    signer, folder, content = signed
    stock_verify(folder, content)
    changes = {
        "changed": lambda: (folder / "a.txt").write_bytes(b"3"),
        "missing": (folder / "a.txt").unlink,
        "extra": lambda: (folder / "a" / "more").write_bytes(b""),
        "renamed": lambda: (folder / "a.txt").rename(folder / "b.txt"),
        "swapped": lambda: (
            (folder / "a.txt").write_bytes(FILES["A/z"]),
            (folder / "A/z").write_bytes(FILES["a.txt"]),
        ),
    }
    for change in changes.values():
        change()
        with pytest.raises(ValueError, match="mismatch"):
            stock_verify(folder, content)
        for added in ("a/more", "b.txt"):
            (folder / added).unlink(missing_ok=True)
        for path, original in FILES.items():
            (folder / path).write_bytes(original)
        stock_verify(folder, content)
    for forged in (
        repacked(content, lambda statement: statement["predicate"]["resources"].pop()),
        repacked(
            content,
            lambda statement: statement["predicate"]["serialization"]["ignore_paths"].append(
                "a.txt"
            ),
        ),
        content.replace(signer.verifier.hint.encode(), Signer.generate().verifier.hint.encode()),
        bundle.sign(FILES, Signer.generate()),
    ):
        with pytest.raises((ValueError, InvalidSignature)):
            stock_verify(folder, forged)


def test_a_bundle_that_the_stock_tool_signed_without_our_second_signature_is_refused(
    exported, tmp_path
):
    from cryptography.hazmat.primitives import serialization as s

    signer = Signer.generate()
    key = tmp_path / "key.pem"
    key.write_bytes(
        signer.classical.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    )
    assert (
        stock(
            "sign", "key", exported / "model", "--signature", tmp_path / "sig", "--private_key", key
        ).returncode
        == 0
    )
    with pytest.raises(VerificationError, match="exactly two signatures"):
        bundle.verify(
            bundle.read_folder(exported / "model"), (tmp_path / "sig").read_bytes(), signer.verifier
        )


def test_every_bundle_of_the_model_signing_specification_is_refused_as_foreign_or_malformed(case):
    for path in Path(case("vectors/model_signing_spec/test-vectors/v1.0")).rglob("*.json"):
        with pytest.raises(VerificationError):
            bundle.verify({}, path.read_bytes(), Signer.generate().verifier)


def test_our_bundle_fits_the_specifications_schemas(case, exported):
    import base64

    import jsonschema
    from referencing import Registry, Resource

    folder = Path(case("vectors/model_signing_spec/schemas/v1.0"))
    schemas = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    registry = Registry().with_resources(
        [
            (key, Resource.from_contents(value))
            for name, value in schemas.items()
            for key in {name, value.get("$id", name)}
        ]
    )
    document = json.loads((exported / "model.sig").read_text())
    statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    for name, value in (("statement", statement), ("predicate", statement["predicate"])):
        jsonschema.validators.validator_for(schemas[f"{name}.schema.json"])(
            schemas[f"{name}.schema.json"], registry=registry
        ).validate(value)


def test_the_bill_of_materials_fits_the_cyclonedx_schema(case, exported):
    from jsonschema.validators import validator_for
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT7

    folder = Path(case("schemas"))
    names = ("spdx.schema.json", "jsf-0.82.schema.json", "cryptography-defs.schema.json")
    found = [json.loads((folder / name).read_text()) for name in names]
    registry = Registry().with_resources([(r["$id"], Resource(r, DRAFT7)) for r in found])
    schema = json.loads((folder / "bom-1.6.schema.json").read_text())
    document = json.loads((exported / "model" / "mlbom.cdx.json").read_text())
    assert list(validator_for(schema)(schema, registry=registry).iter_errors(document)) == []
    assert document["metadata"]["component"]["type"] == "machine-learning-model"
    assert document["metadata"]["component"]["modelCard"]["quantitativeAnalysis"][
        "performanceMetrics"
    ]


def test_the_signed_note_vector_verifies_and_no_changed_one_does(case):
    from casemate.controls.audit.note import parse_keys, parse_note, signed_by

    vector = json.loads((case("vectors/c2sp") / "signed_note_example.json").read_text())
    (key,) = parse_keys(vector["vkey"])
    assert str(key) == vector["vkey"]
    note = (vector["text"] + "\n" + vector["signature_line"].rstrip("\n") + "\n").encode()
    assert signed_by(key, parse_note(note), "", 0, b"") == 0
    assert (
        signed_by(key, parse_note(note.replace(b"example message", b"Example message")), "", 0, b"")
        is None
    )


def test_the_merkle_proof_vectors_agree(case):
    import base64

    from casemate.controls.audit.merkle import verify_consistency, verify_inclusion
    from casemate.core.errors import VerificationError

    def raw(text):
        return base64.b64decode(text or "")

    answers = []
    for path in sorted(case("vectors/merkle_rfc6962").rglob("*.json")):
        vector = json.loads(path.read_text())
        proof = [raw(item) for item in vector["proof"] or []]
        try:
            if "leafIdx" in vector:
                verify_inclusion(
                    raw(vector["leafHash"]),
                    vector["leafIdx"],
                    vector["treeSize"],
                    proof,
                    raw(vector["root"]),
                )
            else:
                verify_consistency(
                    vector["size1"],
                    vector["size2"],
                    proof,
                    raw(vector["root1"]),
                    raw(vector["root2"]),
                )
            answers.append((path.name, vector["wantErr"] is False))
        except VerificationError:
            answers.append((path.name, vector["wantErr"] is True))
    assert len(answers) == 92
    assert [name for name, right in answers if not right] == []


def test_a_plain_pyarrow_reader_with_the_keys_reads_a_sealed_table(clinic):
    import base64

    import pyarrow.parquet as pq
    import pyarrow.parquet.encryption as pe
    from pyarrow import fs

    keys = casemate.open(clinic).keystore

    class Kms(pe.KmsClient):
        def wrap_key(self, key_bytes, master_key_identifier):
            raise NotImplementedError

        def unwrap_key(self, wrapped_key, master_key_identifier):
            return keys.provider.unwrap(master_key_identifier, base64.b64decode(wrapped_key))

    path = next((clinic / ".casemate" / "datasets").rglob("*.parquet"))
    with pytest.raises(OSError, match="encrypted|decrypt"):
        pq.read_table(path)
    factory = pe.CryptoFactory(lambda _: Kms())
    properties = factory.file_decryption_properties(
        pe.KmsConnectionConfig(), pe.DecryptionConfiguration(), str(path), fs.LocalFileSystem()
    )
    assert pq.read_table(str(path), decryption_properties=properties).num_rows == 569


TRITON = """
import sys, numpy as np, gevent.ssl
import tritonclient.http as http
url, ca, token = sys.argv[1:]
client = http.InferenceServerClient(url.removeprefix("https://"), ssl=True, ssl_options={"ca_certs": ca}, ssl_context_factory=gevent.ssl.create_default_context)
headers = {"Authorization": "Bearer " + token}
assert client.is_server_live(headers=headers)
assert client.is_server_ready(headers=headers)
assert client.is_model_ready("wdbc", headers=headers)
assert client.get_server_metadata(headers=headers)["name"] == "casemate"
described = client.get_model_metadata("wdbc", headers=headers)
assert len(described["inputs"]) == 30
for dtype, name in ((np.float32, "FP32"), (np.float64, "FP64")):
    for coding in (None, "gzip", "deflate"):
        kept = dict(headers)  # the client writes the length of its JSON into it and leaves it there for the next call
        for given in (True, False):
            for wanted in (True, False, None):
                tensor = http.InferInput("x", [200, 30], name)
                tensor.set_data_from_numpy(np.ones((200, 30), dtype), binary_data=given)
                outputs = wanted is not None and [http.InferRequestedOutput(one, binary_data=wanted) for one in ("probabilities", "label")]
                result = client.infer("wdbc", [tensor], outputs=outputs or None, headers=kept,
                    request_compression_algorithm=coding, response_compression_algorithm=coding)
                assert result.as_numpy("probabilities").shape == (200, 2), (name, given, wanted, coding)
                assert set(result.as_numpy("label")) <= {b"0", b"1", "0", "1"}, result.as_numpy("label")
try:
    client.get_model_metadata("wdbc")
except Exception as error:
    assert "401" in str(error), error
else:
    raise SystemExit("a stranger was answered")
print("ok")
"""


def test_tritonclient_talks_to_the_gateway(clinic):
    pytest.importorskip("tritonclient.http", reason="tritonclient is a development requirement")
    import datetime

    project = casemate.open(clinic)
    with project.database.transaction() as tx:
        token, _ = project.point.tokens.create(
            tx, "triton", ["client"], ["*"], datetime.timedelta(hours=1)
        )
    with serving(clinic) as running:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", TRITON, running.url, str(running.ca), token],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stdout.strip() == "ok", done.stderr


def test_curl_gets_an_answer_over_tls_1_3(clinic):
    import datetime
    import shutil

    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    project = casemate.open(clinic)
    with project.database.transaction() as tx:
        token, _ = project.point.tokens.create(
            tx, "curl", ["client"], ["*"], datetime.timedelta(hours=1)
        )
    with serving(clinic) as running:
        words = [
            "curl",
            "-sS",
            "--tlsv1.3",
            "--cacert",
            str(running.ca),
            "-H",
            f"Authorization: Bearer {token}",
            f"{running.url}/v2/models/wdbc/ready",
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == {"name": "wdbc", "ready": True}


def test_no_document_of_the_json_suite_breaks_the_request_parser(case):
    files = sorted(path for path in Path(case("vectors/json")).rglob("*.json"))
    assert files
    for path in files:
        with pytest.raises(RequestError):
            oip.decode(path.read_bytes())


def test_the_invalid_datatype_of_mlservers_fixtures_is_refused(case, clinic):
    found = next(Path(case("vectors/mlserver")).rglob("inference-request-invalid-datatype.json"))
    from casemate.serve.endpoint import Endpoint

    project = casemate.open(clinic)
    endpoint = Endpoint.load(project.models["wdbc"].verify(), project.config.serve)
    with pytest.raises(RequestError):
        oip.read(endpoint, "wdbc", found.read_bytes(), None, 10)


def test_malformed_parquet_files_are_data_errors(case):
    for path in sorted(Path(case("vectors/parquet_bad")).rglob("*.parquet")):
        with pytest.raises(DataError):
            source.read(path, DataTable(source=str(path), target="y"))


def test_the_csv_spectrum_reads_as_its_json_says(case):
    folder = Path(case("vectors/csv_spectrum"))
    pairs = [
        (path, next(folder.rglob(path.stem + ".json"))) for path in sorted(folder.rglob("*.csv"))
    ]
    assert pairs
    for path, expected_path in pairs:
        if path.stem == "location_coordinates":
            continue  # its two files hold different telephone numbers
        # the stored CSV files end lines with \n
        expected = json.loads(expected_path.read_text().replace("\\r\\n", "\\n"))
        expected = expected if isinstance(expected, list) else [expected]
        names = list(expected[0])
        columns = {name: {"type": "text"} for name in names}
        import msgspec

        options = msgspec.convert(
            {
                "source": "x",
                "target": names[0],
                "null_values": ["\x00"],
                "trim": False,
                "columns": columns,
            },
            DataTable,
        )
        table, _ = source.read(path, options)
        assert [{k: str(v) for k, v in row.items()} for row in table.to_pylist()] == expected, (
            path.name
        )


def test_a_run_and_a_prediction_open_no_connection_of_their_own(tmp_path):
    """Every socket call of the commands' own process is recorded; only the gateway's loopback is
    allowed.
    """
    watcher = (
        "import sys\nseen = []\nsys.addaudithook(lambda e, a: seen.append((e, str(a[1:]))) if e in"
        " ('socket.connect', 'socket.getaddrinfo', 'socket.sendto') else None)\nfrom casemate.cli"
        " import main\ncode = main(sys.argv[1:])\nprint('SEEN', [s for s in seen if '127.0.0.1' not"
        " in s[1]])\nsys.exit(code)\n"
    )
    for words in (
        ["init", "p", "--example", "clinical"],
        ["run", "--config", "p"],
        ["model", "export", "wdbc", "out", "--config", "p"],
        ["verify", "out"],
    ):
        done = subprocess.run(
            [command()[0], "-c", watcher, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "SEEN []"


def test_an_independent_implementation_verifies_our_mldsa_65_signatures_and_we_its():
    """dilithium-py, written from FIPS 204 in pure Python."""
    dilithium = pytest.importorskip("dilithium_py.ml_dsa", reason="pip install dilithium-py")
    from cryptography.hazmat.primitives.asymmetric import mldsa

    signer = Signer.generate()
    envelope = signer.sign(b"payload")
    message = pae(envelope["payloadType"], b"payload")
    signature = base64.b64decode(envelope["signatures"][1]["sig"])
    public = signer.quantum.public_key().public_bytes_raw()
    assert dilithium.ML_DSA_65.verify(public, message, signature)
    assert not dilithium.ML_DSA_65.verify(public, message + b"x", signature)
    theirs, secret = dilithium.ML_DSA_65.keygen()
    mldsa.MLDSA65PublicKey.from_public_bytes(theirs).verify(
        dilithium.ML_DSA_65.sign(secret, message), message
    )


def test_encrypted_parquet_files_of_other_tools_are_read_as_their_keys_allow_and_are_no_source_without(
    case,
):
    import pyarrow.parquet as pq
    import pyarrow.parquet.encryption as pe

    folder = case("vectors/parquet_encrypted")
    opened = pq.read_table(
        folder / "uniform_encryption.parquet.encrypted",
        decryption_properties=pe.create_decryption_properties(b"0123456789012345"),
    )
    assert (opened.num_rows, opened.num_columns) == (50, 8)
    with pytest.raises(OSError, match="decrypt|Decrypt|key|Key"):
        pq.read_table(
            folder / "uniform_encryption.parquet.encrypted",
            decryption_properties=pe.create_decryption_properties(b"x" * 16),
        )
    files = sorted(folder.glob("*.encrypted"))
    assert len(files) == 8
    for path in files:
        with pytest.raises(DataError):
            source.read(path, DataTable(source=path.name, target="y"))
