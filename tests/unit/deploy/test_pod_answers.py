"""The start of a rendered pod, run for real with the gateway behind it: whatever the project's
catalogue says is live, callers are answered by the model that was verified.
"""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import tomlkit
from tests.conftest import serving
from tests.unit import clusters, images
from tests.unit.deploy.test_pod_start import Pod
from tests.unit.images import Signed
from tests.unit.serve.test_handed_over import asked

import casemate
from casemate.cli import main
from casemate.core.home import keystore_folder
from casemate.stages.release import bundle

pytestmark = [pytest.mark.slow, pytest.mark.secured]
ROWS = [[float(row + column) for column in range(30)] for row in range(3)]
DEPLOYED = (
    f"\n{clusters.STORE}[deploy.kubernetes.model]\n{clusters.PLACES['claim']}"
    f'[deploy.kubernetes]\nimage = "{clusters.GATEWAY}"\n'
)


def second(root: Path, files: dict[str, bytes]) -> Signed:
    """Version 2 of a model with these files, signed and approved by the project in `root`."""
    card = msgspec.json.decode(files[bundle.CARD], type=bundle.Card)
    files = files | {bundle.CARD: msgspec.structs.replace(card, model_version=2).to_json()}
    with casemate.open(root) as project:
        return Signed(project.signer, ['User::"ana"'], files)


def pod_of(tmp_path: Path, root: Path, target: str) -> Pod:
    """The rendered pod of the project in `root`, with its key store and configuration; the port is
    any, and the catalogue is where the project has it.
    """
    own = tomlkit.parse((root / "casemate.toml").read_text())
    store = own.pop("store", None)
    pod = Pod(tmp_path, target, "claim", text=tomlkit.dumps(own) + DEPLOYED)
    shutil.rmtree(pod.here("/keys"))
    shutil.copytree(root / ".casemate/public", pod.here("/keys"))
    said = tomlkit.parse(pod.toml)
    assert said["serve"]["trusted"] == ["/keys"]
    said["serve"] |= {"trusted": [str(pod.here("/keys"))], "port": 0}
    del said["store"]
    if store is None:  # a file of this machine
        shutil.copytree(root, pod.here("/project"), dirs_exist_ok=True)
    else:
        pod.here("/project").mkdir(exist_ok=True)
        said["store"] = store
    pod.here("/project/casemate.toml").write_text(tomlkit.dumps(said))
    kept = keystore_folder(own["project"]["id"])
    pod.here("/keystore").mkdir()
    shutil.copy(kept / "keystore.json", pod.here("/keystore"))
    subprocess.run(pod.mapped(pod.keys["command"]), check=True)
    return pod


def answering(pod: Pod) -> serving:
    """The container's command and arguments as they are rendered."""
    started = serving(pod.here("/project"), HOME=str(pod.here("/run/casemate")))
    started.words = pod.mapped([*pod.container["command"], *pod.container["args"]])
    return started


def answer_of(pod: Pod, root: Path, token: Path) -> dict[str, Any]:
    """What the started pod answers."""
    with answering(pod) as running:
        is_plain = 'serve.tls="proxy"' in pod.container["args"]
        assert running.url.startswith("http:" if is_plain else "https:")
        ca = keystore_folder(casemate.open(root).config.project.id) / "public/ca.pem"
        url = running.url.replace("0.0.0.0", "127.0.0.1")
        return asked(replace(running, url=url, ca=ca), token, ROWS)


@pytest.mark.parametrize("target", ["kubernetes", "kserve"])
@pytest.mark.parametrize("live", ["another", "none"])
def test_a_pod_answers_with_the_model_that_it_verified_whatever_the_catalogue_says_is_live(
    live, target, clinic, fresh, finished, tmp_path
):
    root = clinic if live == "another" else fresh
    with casemate.open(finished) as project:
        files = project.registry.verify("wdbc").files
    if live == "another":
        with casemate.open(clinic) as project:
            project.models.promote("wdbc@1")
    pod = pod_of(tmp_path, root, target)
    second(root, files).folder(pod.here("/model"))
    token = tmp_path / "token"
    at = ("--config", str(pod.here("/project")))
    say = ("access", "token", "create", "w", "--model", "wdbc", "--days", "1")
    assert main([*say, "--out", str(token), *at]) == 0
    answer = answer_of(pod, root, token)
    assert answer["model_version"] == "2"
    with casemate.open(pod.here("/project")) as project:
        assert [one.model for one in project.decisions.newest(5)] == ["wdbc@2"]
        known = [one.reference for one in project.registry.list()]
        assert known == (["wdbc@1"] if live == "another" else [])
    for path in sorted((pod.here("/model") / "model").iterdir())[:2]:
        images.flip(path)
        done = subprocess.run(
            answering(pod).words,
            capture_output=True,
            text=True,
            check=False,
            env={"HOME": str(pod.here("/run/casemate"))},
        )
        assert (done.returncode, "changed after signing" in done.stderr) == (4, True)
        assert "serving" not in done.stdout
        images.flip(path)
    images.lighter(pod.here("/run/casemate/model"))
