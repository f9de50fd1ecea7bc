"""Every stored file: one flipped byte, a removal or a swap is noticed by whoever reads it."""

import random
import shutil
from pathlib import Path

import pytest

import casemate
from casemate.controls.audit.verify import verify_log
from casemate.controls.keys.objects import name_of
from casemate.core.errors import BackendError, ConfigError, Error, RefusedError, VerificationError
from casemate.core.signatures import Verifier
from casemate.stages.release import bundle
from casemate.verification import verify_path


def flip(path: Path, where: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    at = random.Random(str(path)).randrange(len(content)) if where is None else where
    content[at] ^= 0x01
    path.write_bytes(bytes(content))


@pytest.fixture
def exported(clinic, tmp_path):
    casemate.open(clinic).models["wdbc"].export(tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize(
    "name",
    [
        "model/model.onnx",
        "model/model.skops",
        "model/model.json",
        "model/mlbom.cdx.json",
        "model.sig",
    ],
)
def test_a_flipped_byte_in_an_exported_model_is_refused(exported, name):
    flip(exported / name)
    with pytest.raises(VerificationError):
        verify_path(exported)


@pytest.mark.parametrize("change", ["remove", "add", "unsign", "link"])
def test_missing_extra_unsigned_and_linked_files_are_refused(exported, change):
    model = exported / "model"
    if change == "remove":
        (model / "model.onnx").unlink()
    elif change == "add":
        (model / "extra.txt").write_text("x")
    elif change == "unsign":
        (exported / "model.sig").unlink()
    else:
        (model / "model.onnx").rename(exported / "elsewhere")
        (model / "model.onnx").symlink_to(exported / "elsewhere")
    with pytest.raises(VerificationError):
        verify_path(exported)


def test_a_stripped_post_quantum_signature_is_refused(exported):
    import json

    bundle = json.loads((exported / "model.sig").read_text())
    bundle["dsseEnvelope"]["signatures"].pop()
    (exported / "model.sig").write_text(json.dumps(bundle))
    with pytest.raises(VerificationError, match="exactly two signatures"):
        verify_path(exported)


def test_a_model_signed_by_a_stranger_is_refused_and_its_own_keys_are_not_trusted(
    exported, clinic, tmp_path
):
    from casemate.core.signatures import Signer
    from casemate.stages.release import bundle

    stranger = Signer.generate()
    (exported / "model.sig").write_bytes(
        bundle.sign(bundle.read_folder(exported / "model"), stranger)
    )
    for name, pem in zip(bundle.PUBLIC_KEYS, stranger.verifier.pems, strict=True):
        (exported / name).write_bytes(pem)
    with pytest.raises(VerificationError):
        verify_path(exported)
    assert verify_path(exported, [exported]).kind == "model"


@pytest.mark.parametrize("kind", ["model.onnx", "bundle"])
def test_a_flipped_byte_in_a_stored_object_stops_verification_and_serving(clinic, kind):
    project = casemate.open(clinic)
    release = project.models["wdbc"].registered.release
    flip(
        project.objects.blobs.path(
            name_of(release.bundle if kind == "bundle" else release.files[kind])
        )
    )
    with pytest.raises(VerificationError):
        project.models["wdbc"].verify()


def test_a_removed_object_stops_verification(clinic):
    project = casemate.open(clinic)
    project.objects.blobs.path(
        name_of(project.models["wdbc"].registered.release.files["model.onnx"])
    ).unlink()
    with pytest.raises(VerificationError, match="missing"):
        project.models["wdbc"].verify()


def test_two_swapped_objects_stop_verification(clinic):
    project = casemate.open(clinic)
    files = project.models["wdbc"].registered.release.files
    first, second = (
        project.objects.blobs.path(name_of(files[name])) for name in ("model.onnx", "model.skops")
    )
    content = first.read_bytes()
    shutil.copy(second, first)
    second.write_bytes(content)
    with pytest.raises(VerificationError):
        project.models["wdbc"].verify()


def parts(clinic: Path) -> Path:
    return next((clinic / ".casemate" / "datasets" / "wdbc").iterdir())


@pytest.mark.parametrize(
    "name",
    ["part-00000.parquet", "manifest.dsse.json", "_KEY_MATERIAL_FOR_part-00000.parquet.json"],
)
def test_a_flipped_byte_in_a_sealed_table_is_refused(clinic, name):
    path = parts(clinic) / name
    where = path.read_bytes().find(b"wrappedDEK") + 20 if "MATERIAL" in name else None
    flip(path, where)
    with pytest.raises(VerificationError):
        casemate.open(clinic).datasets["wdbc"].to_arrow()


def test_a_whole_file_swap_under_the_same_keys_is_refused(clinic):
    import pyarrow as pa

    from casemate.controls.keys import tables

    project = casemate.open(clinic)
    table = project.datasets["wdbc"].to_arrow()
    classes = {
        name: "identifier" if name == "patient_id" else "general" for name in table.column_names
    }
    other = clinic / "wdbc" / parts(clinic).name
    tables.seal(
        table.slice(1).combine_chunks(),
        other,
        project.provider,
        project.keystore.signer,
        classes,
        {"name": "wdbc", "version": other.name},
    )
    for name in ("part-00000.parquet", "_KEY_MATERIAL_FOR_part-00000.parquet.json"):
        shutil.copy(other / name, parts(clinic) / name)
    assert isinstance(table, pa.Table)
    with pytest.raises(VerificationError, match="swapped"):
        project.datasets["wdbc"].to_arrow()


@pytest.mark.parametrize(
    "name",
    [
        "1-data/data.json",
        "3-assess/assess.json",
        "3-assess/roc.png",
        "4-release/release.json",
        "evidence.dsse.json",
    ],
)
def test_changed_evidence_is_refused(clinic, name):
    run = next((clinic / ".casemate" / "runs").iterdir())
    assert verify_path(run).kind == "evidence"
    flip(run / name)
    with pytest.raises(VerificationError):
        verify_path(run)


def test_a_changed_catalogue_cannot_turn_a_refused_model_into_a_served_one(tiny_project):
    import msgspec

    from casemate.core.digest import sha256
    from casemate.stages.release.registry import MODELS

    def stored(release):
        content = msgspec.json.encode(release)
        return {"release": content, "digest": sha256(content)}

    project = casemate.open(tiny_project, ["gates.accuracy={ max = 0.01 }"])
    result = project.run()
    assert result.verdict.outcome == "refused"
    forged = msgspec.structs.replace(
        result.release, verdict=msgspec.structs.replace(result.release.verdict, outcome="passed")
    )
    with project.database.transaction() as tx:
        tx.execute(MODELS.update().values(**stored(forged)))
    with pytest.raises(RefusedError):
        project.models[
            "tiny@1" if "tiny@1" in project.models else next(iter(project.models))
        ].verify()
    borrowed = msgspec.structs.replace(forged, bundle=result.release.files["model.skops"])
    with project.database.transaction() as tx:
        tx.execute(MODELS.update().values(**stored(borrowed)))
    with pytest.raises(VerificationError):
        project.models[next(iter(project.models))].verify()


def log_files(clinic: Path) -> list[Path]:
    return [
        path
        for path in sorted((clinic / ".casemate" / "audit").rglob("*"))
        if path.is_file() and path.name != ".lock"
    ]


def test_every_flipped_byte_of_the_log_is_detected(clinic):
    folder = clinic / ".casemate" / "audit"
    vkeys = casemate.open(clinic).log.signer.vkeys
    assert verify_log(folder, vkeys).checkpoint.size > 0
    generator = random.Random(0)
    for path in log_files(clinic):
        original = path.read_bytes()
        for _ in range(60):
            changed = bytearray(original)
            changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
            path.write_bytes(bytes(changed))
            with pytest.raises(VerificationError):
                verify_log(folder, vkeys)
        path.write_bytes(original)
    assert verify_log(folder, vkeys)


def test_a_body_that_was_rewritten_in_the_catalogue_is_detected(clinic, cli):
    from casemate.core.store.sqlite import driver

    with driver.connect(clinic / ".casemate" / "catalog.db") as database:
        sealed = database.execute('SELECT sealed FROM audit_entry WHERE "index" = 2').fetchone()[0]
        assert b"User::" not in sealed
        database.execute(
            'UPDATE audit_entry SET sealed = ? WHERE "index" = 2',
            (sealed[:-1] + bytes([sealed[-1] ^ 1]),),
        )
    database.close()
    answer = cli("audit", "verify", "--config", clinic)
    assert answer.code == 4
    assert "entry 2" in answer.err


def test_a_removed_model_cannot_be_served(clinic, cli):
    from casemate.stages.release.registry import MODELS

    project = casemate.open(clinic)
    with project.database.transaction() as tx:
        tx.execute(MODELS.delete())
    answer = cli("serve", "--config", clinic, "--port", "0")
    assert answer.code == 2
    assert "no model called" in answer.err


def test_random_flips_in_the_catalogue_never_give_a_wrong_model(clinic, scale):
    good = casemate.open(clinic).models["wdbc"].verify().files
    database = clinic / ".casemate" / "catalog.db"
    original = database.read_bytes()
    generator = random.Random(1)
    for _ in range(scale(15, 600)):
        changed = bytearray(original)
        changed[generator.randrange(len(changed))] ^= 1 << generator.randrange(8)
        database.write_bytes(bytes(changed))
        for name in ("catalog.db-wal", "catalog.db-shm"):
            (clinic / ".casemate" / name).unlink(missing_ok=True)
        try:
            assert casemate.open(clinic).models["wdbc"].verify().files == good
        except (Error, KeyError):
            pass
    database.write_bytes(original)


@pytest.mark.parametrize("change", ["mode", "damage", "remove"])
def test_a_key_store_that_is_open_damaged_or_absent_is_refused(fresh, change):
    folder = casemate.open(fresh).keystore.folder
    path = folder / "keystore.json"
    if change == "mode":
        path.chmod(0o644)
    elif change == "damage":
        path.write_bytes(path.read_bytes()[:100])
    else:
        path.unlink()
    with pytest.raises(BackendError) as caught:
        casemate.open(fresh).run()
    assert caught.value.hint
    assert caught.value.exit_code == 5


def test_a_project_without_its_catalogue_is_a_configuration_error(clinic):
    (clinic / ".casemate" / "catalog.db").unlink()
    with pytest.raises(ConfigError, match="catalog"):
        casemate.open(clinic)


def test_no_flipped_byte_of_a_bundle_goes_unnoticed(exported):
    original, files = (exported / "model.sig").read_bytes(), bundle.read_folder(exported / "model")
    verifier = Verifier.from_pem(*((exported / name).read_bytes() for name in bundle.PUBLIC_KEYS))
    generator = random.Random(2)
    for position in range(len(original)):
        changed = bytearray(original)
        changed[position] ^= 1 << generator.randrange(7)
        with pytest.raises(VerificationError):
            bundle.verify(files, bytes(changed), verifier)


def test_key_material_of_a_table_that_is_no_base64_is_a_verification_error(clinic):
    path = next((clinic / ".casemate" / "datasets").rglob("_KEY_MATERIAL_FOR_*"))
    content = path.read_bytes()
    position = content.index(b"wrappedDEK") + 30 if b"wrappedDEK" in content else len(content) // 2
    for change in (b"\xff", b"=", b"\\"):
        path.write_bytes(content[:position] + change + content[position + 1 :])
        with pytest.raises(VerificationError):
            next(iter(casemate.open(clinic).datasets.values())).to_arrow()
