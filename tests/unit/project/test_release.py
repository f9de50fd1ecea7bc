"""A release: the same wheel from every build, a bill of materials that says what the lock says, a
signature that outsiders check.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import casemate

ROOT = Path(__file__).parents[3]
CHECK = ROOT / "release" / "check.py"


def loaded(name):
    spec = importlib.util.spec_from_file_location(
        f"release_{name}", ROOT / "release" / f"{name}.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


wheel = loaded("wheel")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("the build tool, hatchling, is not installed")
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("no git repository: a wheel is built of a commit")
    out = tmp_path_factory.mktemp("release") / "dist"
    wheel.build(out=out)
    return out


@pytest.fixture
def signed(built, tmp_path):
    folder = shutil.copytree(built, tmp_path / "dist")
    wheel.keys(tmp_path / "keys", b"correct horse")
    signature = wheel.sign(tmp_path / "keys", b"correct horse", folder)

    def check(*, keys=tmp_path / "keys"):
        words = [
            sys.executable,
            "-I",
            str(CHECK),
            str(signature),
            *(str(keys / name) for name in wheel.KEYS),
        ]
        return subprocess.run(words, capture_output=True, text=True, check=False)

    return folder, signature, check


def test_a_wheel_is_the_same_whenever_and_wherever_it_is_built(built, tmp_path):
    made = next(built.glob("*.whl"))
    again = wheel.wheel(
        ROOT, tmp_path / "again", TZ="America/St_Johns", PYTHONHASHSEED="1", HOME=str(tmp_path)
    )
    assert again.read_bytes() == made.read_bytes()


def test_a_wheel_holds_the_package_under_its_one_version_and_nothing_else(built):
    made = next(built.glob("*.whl"))
    assert made.name == f"casemate-{casemate.__version__}-py3-none-any.whl"
    names = zipfile.ZipFile(made).namelist()
    assert {name.partition("/")[0] for name in names} == {
        "casemate",
        f"casemate-{casemate.__version__}.dist-info",
    }
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_builds_that_differ_release_nothing(tmp_path):
    root = tmp_path / "unsteady"
    (root / "src" / "casemate").mkdir(parents=True)
    (root / "src" / "casemate" / "__init__.py").write_text('__version__ = "1"\n')
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend ='
        ' "hatchling.build"\n[project]\nname = "casemate"\nversion ='
        ' "1"\n[tool.hatch.build.targets.wheel]\npackages ='
        ' ["src/casemate"]\n[tool.hatch.build.targets.wheel.hooks.custom]\n'
    )
    (root / "hatch_build.py").write_text(
        "import time\nfrom hatchling.builders.hooks.plugin.interface import"
        " BuildHookInterface\nclass Hook(BuildHookInterface):\n    def initialize(self, version,"
        " data):\n        open('src/casemate/when.py', 'w').write(str(time.time_ns()))\n"
    )
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        ["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "one"],
    ):
        subprocess.run(["git", "-C", str(root), *words], check=True)
    with pytest.raises(wheel.NotReproducible, match="two builds of one commit differ"):
        wheel.build(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_bill_of_materials_is_what_the_lock_pins_and_is_reproducible(built):
    made = next(built.glob("*.whl"))
    content = wheel.materials(made, wheel.LOCK.read_text(), wheel.commit_time())
    assert (
        content
        == next(built.glob("*.cdx.json")).read_bytes()
        == wheel.materials(made, wheel.LOCK.read_text(), wheel.commit_time())
    )
    bill = json.loads(content)
    lines = [line for line in wheel.LOCK.read_text().splitlines() if line[:1].isalnum()]
    assert {f"{part['name']}=={part['version']}" for part in bill["components"]} == {
        line.split()[0].lower() for line in lines
    }
    assert bill["metadata"]["component"]["hashes"] == [
        {"alg": "SHA-256", "content": wheel.sha256(made.read_bytes())}
    ]
    needed = {part["ref"]: set(part.get("dependsOn", [])) for part in bill["dependencies"]}
    assert "cryptography" in needed["casemate"]
    assert set.union(*needed.values()) == {part["name"] for part in bill["components"]}, (
        "a package that nobody asks for"
    )


@pytest.mark.slow
def test_a_release_is_verified_without_casemate(signed):
    _, _, check = signed
    done = check()
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("verified casemate-") == 2
    assert "import casemate" not in CHECK.read_text()
    assert "from casemate" not in CHECK.read_text()


@pytest.mark.parametrize("suffix", [".whl", ".cdx.json"])
def test_a_changed_or_missing_file_of_a_release_is_refused(signed, suffix):
    folder, _, check = signed
    path = next(folder.glob(f"*{suffix}"))
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert check().returncode == 1
    path.unlink()
    done = check()
    assert done.returncode == 1
    assert done.stderr.startswith("NOT VERIFIED: ")


@pytest.mark.parametrize("place", [0, 1])
def test_each_of_the_two_signatures_is_needed(signed, place):
    _, signature, check = signed
    envelope = json.loads(signature.read_bytes())
    envelope["signatures"][place]["sig"] = json.loads(signature.read_bytes())["signatures"][place][
        "sig"
    ][::-1]
    signature.write_text(json.dumps(envelope))
    assert check().returncode == 1
    del envelope["signatures"][place]
    signature.write_text(json.dumps(envelope))
    assert check().returncode == 1


def test_a_release_signed_by_others_is_refused(signed, tmp_path):
    _, _, check = signed
    wheel.keys(tmp_path / "others", b"x")
    assert check(keys=tmp_path / "others").returncode == 1


def test_release_keys_are_private_encrypted_and_never_replaced(tmp_path):
    wheel.keys(tmp_path / "keys", b"secret")
    for name in wheel.PRIVATE:
        assert (tmp_path / "keys" / name).stat().st_mode & 0o777 == 0o600
        assert b"ENCRYPTED" in (tmp_path / "keys" / name).read_bytes()
    with pytest.raises(FileExistsError):
        wheel.keys(tmp_path / "keys", b"secret")


def test_two_releases_in_one_folder_are_not_signed(built, tmp_path):
    folder = shutil.copytree(built, tmp_path / "dist")
    (folder / "casemate-0-py3-none-any.whl").write_bytes(b"")
    with pytest.raises(SystemExit, match="one wheel"):
        wheel.sign(tmp_path, b"", folder)
