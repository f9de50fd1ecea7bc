"""What a rendered pod starts with, taken out of its YAML and run for real: it becomes the server only if
the model holds, wherever the model came from.
"""

import datetime
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.unit import clusters, images
from tests.unit.images import OTHER, Signed

from casemate.core.digest import sha256
from casemate.stages.release.admission import WITHDRAWN, WITHDRAWN_TYPE, Gone, Withdrawals

pytestmark = [pytest.mark.slow, pytest.mark.secured]
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
STARTED = ["-c", "import os; print('started', sorted(os.listdir(os.environ['CASEMATE_MODEL'])))"]
SOURCES = ("image", "copy", "s3", "claim")


class Pod:
    """The one container of a rendering that has the model, with its mounts in a folder here."""

    def __init__(self, root: Path, target: str, source: str, digest: str = "", text: str = ""):
        text = text or clusters.toml(source)
        if digest:
            text = text.replace(f"wdbc@sha256:{clusters.DIGEST}", f"wdbc@{digest}")
        files = clusters.rendered(target, clusters.given_of(root / "project", text))
        (pod,) = [
            one
            for one in clusters.every_pod(files)
            if any("--then" in each["command"] for each in one["spec"]["containers"])
        ]
        (self.container,) = pod["spec"]["containers"]
        (self.keys,) = [one for one in pod["spec"]["initContainers"] if one["name"] == "keys"]
        project = clusters.found(files, "ConfigMap", "casemate-project")
        self.toml = project["data"]["casemate.toml"]
        self.root = root / "node"
        for mount in self.container["volumeMounts"]:
            self.here(mount["mountPath"]).parent.mkdir(parents=True, exist_ok=True)
        self.here("/run/casemate").mkdir(parents=True, exist_ok=True)
        shutil.copytree(root / "project" / "trusted", self.here("/keys"))

    def here(self, path: str) -> Path:
        """Where a path of the container is on this machine."""
        return self.root / path.lstrip("/")

    def mapped(self, words: list[str]) -> list[str]:
        """Words in which this machine's interpreter and folders stand for the container's."""
        places = {one["mountPath"] for one in self.container["volumeMounts"]} | {"/keystore"}

        def one(word: str) -> str:
            if word == "/usr/bin/python3":
                return sys.executable
            under = [place for place in places if word == place or word.startswith(f"{place}/")]
            return str(self.here(word)) if under else word

        return [one(word) for word in words]

    def start(self) -> subprocess.CompletedProcess[str]:
        """The container's command, and a program that tells in place of the server."""
        words = [*self.mapped(self.container["command"]), sys.executable, *STARTED]
        return subprocess.run(
            words,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "HOME": str(self.here("/run/casemate"))},
        )


def placed(pod: Pod, source: str, signed: Signed) -> Path:
    """The model as a runtime, a copy, a fetch or a volume brings it."""
    to = pod.here("/model")
    if source == "image":
        signed.layout(pod.root / "layout", "volume")
        return images.unpacked(pod.root / "layout", to)
    if source == "copy":
        signed.layout(to, "model")
        return to
    return signed.folder(to)


def pod_of(tmp_path, source, signed, target="kubernetes"):
    digest = ""
    if source == "copy":
        digest = signed.layout(tmp_path / "pushed", "model").digest
    pod = Pod(tmp_path, target, source, digest)
    if source == "copy":
        shutil.copytree(tmp_path / "pushed", pod.here("/model"))
    else:
        placed(pod, source, signed)
    return pod


def refused(pod, code=4):
    done = pod.start()
    assert done.returncode == code, done.stderr
    assert "started" not in done.stdout
    assert not pod.here("/run/casemate/model").exists()
    return done.stderr


@pytest.mark.parametrize("target", ["kubernetes", "kserve"])
@pytest.mark.parametrize("source", SOURCES)
def test_an_approved_model_is_verified_and_the_container_becomes_the_server(
    source, target, tmp_path
):
    pod = pod_of(tmp_path, source, Signed(approvers=["User::ana"]), target)
    for _ in range(2):  # a container that is started again finds what it wrote before
        done = pod.start()
        assert done.returncode == 0, done.stderr
        assert "started ['mlbom.cdx.json', 'model-card.md', 'model.json'" in done.stdout
    images.lighter(pod.here("/run/casemate/model"))


@pytest.mark.parametrize("source", SOURCES)
def test_one_flipped_byte_anywhere_keeps_the_container_from_starting(source, tmp_path):
    pod = pod_of(tmp_path, source, Signed(approvers=["User::ana"]))
    model = pod.here("/model")
    parts = (
        sorted((model / images.BLOBS).iterdir())
        if source == "copy"
        else [*sorted((model / "model").iterdir()), model / "model.sig"]
    )
    for path in parts:
        sound = path.read_bytes()
        images.flip(path, len(sound) // 2)
        refused(pod)
        path.write_bytes(sound)
    assert pod.start().returncode == 0
    images.lighter(pod.here("/run/casemate/model"))


@pytest.mark.parametrize("source", SOURCES)
def test_a_foreign_signer_keeps_the_container_from_starting(source, tmp_path):
    refused(pod_of(tmp_path, source, Signed(OTHER, approvers=["User::eve"])))


@pytest.mark.parametrize("source", ["image", "s3", "claim"])
def test_without_its_bundle_or_without_a_model_the_container_does_not_start(source, tmp_path):
    pod = pod_of(tmp_path, source, Signed(approvers=["User::ana"]))
    (pod.here("/model") / "model.sig").unlink()
    pod_said = pod.start()
    assert pod_said.returncode in (2, 4)
    assert "started" not in pod_said.stdout
    shutil.rmtree(pod.here("/model"))
    pod.here("/model").mkdir()
    assert pod.start().returncode not in (0, None)


@pytest.mark.parametrize("source", SOURCES)
def test_nobodys_approval_another_stage_and_an_ended_waiver_keep_it_from_starting(source, tmp_path):
    assert "0 of 1 approvals" in refused(pod_of(tmp_path / "a", source, Signed()), 1)
    other = Signed(approvers=["User::ana"], stage="staging")
    assert "stage" in refused(pod_of(tmp_path / "b", source, other), 1)
    ended = {"recall": (NOW - DAY).isoformat()}
    waived = Signed(approvers=["User::ana"], waived=ended)
    assert "waiver" in refused(pod_of(tmp_path / "c", source, waived), 1)


def test_a_model_that_its_owner_took_back_does_not_start(tmp_path):
    signed = Signed(approvers=["User::ana"])
    pod = pod_of(tmp_path, "image", signed)
    gone = Gone(model="wdbc@3", bundle=sha256(signed.bundle), reason="odd answers")
    listed = Withdrawals(project="tiny-1", time=NOW.isoformat(), models=[gone])
    sealed = images.SIGNER.sign(listed.to_json(), WITHDRAWN_TYPE)
    (pod.here("/keys") / WITHDRAWN).write_bytes(msgspec.json.encode(sealed))
    assert "odd answers" in refused(pod, 1)


def test_another_image_than_the_one_that_is_named_does_not_start(tmp_path):
    pod = Pod(tmp_path, "kubernetes", "copy")
    Signed(approvers=["User::ana"]).layout(pod.here("/model"), "model")
    refused(pod)


def test_the_key_store_is_put_where_its_user_alone_reads_it(tmp_path):
    pod = pod_of(tmp_path, "image", Signed())
    pod.here("/keystore").mkdir()
    (pod.here("/keystore") / "keystore.json").write_bytes(b"{}")
    (pod.here("/keystore") / "keystore.json").chmod(0o440)
    words = pod.mapped(pod.keys["command"])
    for _ in range(2):  # init containers may be run again
        subprocess.run(words, check=True)
    kept = pod.here("/run/casemate/.config/casemate/tiny-1/keystore.json")
    assert kept.read_bytes() == b"{}"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o077 == 0
