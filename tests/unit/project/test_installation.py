"""What an installation without extras can do, what it says of the rest, and what is imported for
it.
"""

import functools
import json
import os
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest

import casemate
from casemate.cli import VERBS
from casemate.core.errors import ConfigError
from casemate.core.extras import EXTRAS, needed

ROOT = Path(__file__).parents[3]
TOOLS = Path(sys.executable).parent
MOST_DISTRIBUTIONS, MOST_MEGABYTES = 8, 40
VERIFIER = {"cryptography", "msgspec", "_cffi_backend", "_openssl", "typing_extensions"}
"""What `casemate verify` may import beside the standard library."""
POSIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
"""Modules that Python has not on Windows."""


def executed(*words: object, **more: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, **more
    )


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """A new environment with casemate and what pip takes along without extras, as an outsider
    installs it.
    """
    folder = tmp_path_factory.mktemp("light")
    if executed(TOOLS / "uv", "pip", "compile", "--quiet", "-", input="msgspec").returncode:
        pytest.skip("no package index is reached from here")
    wheel = executed(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        folder,
        ROOT,
    )
    assert wheel.returncode == 0, wheel.stderr
    (built,) = folder.glob("*.whl")
    assert (
        executed(
            TOOLS / "uv", "venv", "--quiet", "--python", sys.executable, folder / "env"
        ).returncode
        == 0
    )
    words = (
        "--python",
        folder / "env/bin/python",
        "--constraint",
        ROOT / "requirements/core.txt",
        built,
    )
    done = executed(TOOLS / "uv", "pip", "install", "--quiet", *words)
    assert done.returncode == 0, done.stderr
    return folder / "env"


@pytest.mark.slow
def test_an_outsiders_installation_is_five_packages_and_small(light):
    (site,) = light.glob("lib/*/site-packages")
    found = sorted(path.name.partition("-")[0] for path in site.glob("*.dist-info"))
    assert {"casemate", "cryptography", "msgspec"} <= set(found)
    assert len(found) <= MOST_DISTRIBUTIONS, found
    size = sum(path.stat().st_size for path in site.rglob("*") if path.is_file())
    assert size <= MOST_MEGABYTES * 1024 * 1024, size


def test_an_outsider_verifies_a_model_evidence_a_table_a_log_and_a_proof_and_sees_what_was_changed(
    light, clinic, tmp_path
):
    project = casemate.open(clinic)
    project.models["wdbc"].export(tmp_path / "out")
    (tmp_path / "proof").write_bytes(project.log.prove(0))
    keys = clinic / ".casemate/public"
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}

    def verify(path):
        return executed(
            light / "bin/casemate",
            "verify",
            path,
            "--key",
            keys,
            "--format",
            "json",
            cwd=tmp_path,
            env=environment,
        )

    (run,), (table,) = (
        (clinic / ".casemate/runs").glob("*"),
        (clinic / ".casemate/datasets/wdbc").glob("*"),
    )
    things = {
        "model": tmp_path / "out",
        "evidence": run,
        "data set": table,
        "audit log": clinic / ".casemate/audit",
        "entry": tmp_path / "proof",
    }
    for kind, path in things.items():
        done = verify(path)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["kind"] == kind
    project.images.write("wdbc", tmp_path / "image")
    started = executed(
        *(light / "bin/casemate", "verify", tmp_path / "image", "--key", keys),
        *("--require", "provenance", "--into", tmp_path / "now", "--then"),
        *(sys.executable, "-c", "import os; print(os.listdir(os.environ['CASEMATE_MODEL']))"),
        cwd=tmp_path,
        env=environment,
    )
    assert (started.returncode, "model.onnx" in started.stdout) == (0, True), started.stderr
    for path in (
        tmp_path / "out/model/model.json",
        next(run.glob("*/*.json")),
        next(table.glob("*.parquet")),
    ):
        with path.open("ab") as file:
            file.write(b"x")
    for kind in ("model", "evidence", "data set"):
        done = verify(things[kind])
        assert done.returncode == 4, kind
        assert "Traceback" not in done.stderr


def test_every_other_verb_names_the_extra_that_it_needs(light, clinic):
    words = {
        "init": ["new", "--example", "clinical"],
        "predict": ["x"],
        "explain": ["x"],
        "data": ["list"],
        "model": ["list"],
        "image": ["model", "x", "y"],
        "privacy": ["budget"],
        "completion": ["bash"],
        "access": ["list"],
        "audit": ["show"],
        "outbox": ["list"],
        "sinks": ["status"],
        "tracker": ["list"],
        "store": ["show"],
        "backup": ["recipients", "list"],
        "keys": ["list"],
        "watch": ["drift", "a.csv", "b.csv"],
        "logs": ["search"],
        "incident": ["list"],
        "feedback": ["list"],
        "retrain": ["list"],
        "federate": ["simulate"],
        "playbook": ["list"],
        "hold": ["list"],
        "controls": ["list"],
        "evidence": ["out"],
        "scan": ["list"],
        "bom": ["show"],
        "drill": ["--list"],
        "deploy": ["prometheus", "p"],
        "sagemaker": ["serve"],
    }
    for verb in VERBS.keys() - {"verify", "config"}:
        done = executed(light / "bin/casemate", verb, *words.get(verb, []), cwd=clinic)
        assert done.returncode == 2, (verb, done.stdout, done.stderr)
        extra = (
            "serve"
            if "serve" in done.stderr.partition("needs")[2].partition(":")[0]
            else "pipeline"
        )
        assert (
            f"casemate {verb} needs casemate[{extra}]: pip install 'casemate[{extra}]'"
            in done.stderr
        ), (verb, done.stderr)
        assert "Traceback" not in done.stderr
    for name in ("open", "create", "Project"):
        done = executed(light / "bin/python", "-c", f"import casemate; casemate.{name}")
        assert (
            f"ImportError: casemate.{name} needs casemate[pipeline]: pip install"
            " 'casemate[pipeline]'" in done.stderr
        )


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["linux", "macos", "windows"])
def test_wheels_of_what_the_verifier_needs_are_there_for_every_system(platform, light):
    words = (
        "--quiet",
        "--no-header",
        "--only-binary",
        ":all:",
        "--constraint",
        "requirements/core.txt",
        "--python-platform",
        platform,
    )
    done = executed(
        TOOLS / "uv", "pip", "compile", *words, "--no-annotate", "pyproject.toml", cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert {line.partition("==")[0] for line in done.stdout.split()} >= {"cryptography", "msgspec"}


def test_the_verifier_imports_nothing_but_cryptography_and_msgspec():
    script = (
        "import sys, casemate.cli.verify, casemate.verification, casemate.cli;"
        " print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = executed(
        sys.executable,
        "-S",
        "-c",
        f"import sys; sys.path.append({sysconfig.get_path('purelib')!r});"
        f" sys.path.append({str(ROOT / 'src')!r})\n" + script,
    )
    assert done.returncode == 0, done.stderr
    strangers = set(done.stdout.split()) - sys.stdlib_module_names - {"casemate", "__main__", "org"}
    assert strangers <= VERIFIER


def test_the_verifier_needs_no_module_that_windows_lacks(clinic):
    """The system's own modules are imported first; from then on Python says that it runs on
    Windows.
    """
    script = f"""
import sys, argparse, importlib, pathlib, shutil, tempfile, subprocess, cryptography.x509, cryptography.hazmat.primitives.asymmetric.mldsa, msgspec
for name in {POSIX!r}: sys.modules[name] = None
sys.platform = "win32"
from casemate.cli import main
sys.exit(main(sys.argv[1:]))
"""
    for path in (".casemate/audit", next((clinic / ".casemate/runs").glob("*"))):
        done = executed(
            sys.executable,
            "-c",
            script,
            "verify",
            clinic / path,
            "--key",
            clinic / ".casemate/public",
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_a_run_needs_neither_the_gateways_modules_nor_those_of_pictures(fresh):
    script = (
        f"import sys\nfor name in {EXTRAS['serve'] + EXTRAS['plots']!r}: sys.modules[name] ="
        " None\nfrom casemate.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = executed(sys.executable, "-c", script, "run", "--config", fresh)
    assert done.returncode == 0, done.stderr
    assert list(fresh.glob(".casemate/runs/*/*.dsse.json"))
    assert not list(fresh.glob(".casemate/runs/*/*/*.png"))
    refused = executed(sys.executable, "-c", script, "serve", "--config", fresh)
    assert (refused.returncode, refused.stderr.splitlines()[0].partition(": ")[2]) == (
        2,
        "casemate serve needs casemate[serve]: pip install 'casemate[serve]'",
    )


def imported() -> dict[str, set[str]]:
    """Module from outside -> the modules of casemate that import it."""
    graph = grimp.build_graph("casemate", include_external_packages=True, cache_dir=None)
    return {
        name: graph.find_modules_that_directly_import(name)
        for name in graph.modules
        if name.partition(".")[0] not in sys.stdlib_module_names | {"casemate"}
    }


def required(extra: str | None) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] if extra is None else project["optional-dependencies"][extra]
    names = {
        "".join(
            character if character.isalnum() or character in "-_." else " " for character in line
        ).split()[0]
        for line in lines
    }
    return {name.lower().replace("_", "-") for name in names} - {"casemate"}


@functools.cache
def distributions() -> dict[str, set[str]]:
    """Module -> the distributions that bring it."""
    return {
        module: {name.lower().replace("_", "-") for name in names}
        for module, names in packages_distributions().items()
    }


def test_the_list_of_modules_is_that_of_the_extras():
    of = distributions()
    for extra, modules in EXTRAS.items():
        assert set().union(*(of[module] & required(extra) for module in modules)) == required(
            extra
        ), extra
        assert [module for module in modules if not of[module] & required(extra)] == []


def test_every_module_from_outside_that_the_code_imports_belongs_to_an_extra():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    declared = required(None).union(*(required(extra) for extra in extras if extra != "dev"))
    of = distributions()
    # By what it is a part of; torch itself is a build of the user's choice, and schemas are large.
    brought = {
        "botocore": "boto3",
        "joblib": "scikit-learn",
        "kubernetes_validate": "kubernetes-validate",
        "markupsafe": "jinja2",
        "packageurl": "cyclonedx-python-lib",
        "requests": "hvac",
        "torch": "safetensors",
    }
    names = {module: {brought.get(module, "")} | of.get(module, set()) for module in imported()}
    assert {module: imported()[module] for module in names if not names[module] & declared} == {}


def test_a_missing_module_that_no_extra_brings_is_no_question_of_extras():
    assert (
        "casemate[pipeline]"
        in needed("casemate run", ModuleNotFoundError("x", name="sqlalchemy.engine")).message
    )
    assert isinstance(
        needed("casemate serve", ModuleNotFoundError("x", name="uvicorn")), ConfigError
    )
    with pytest.raises(ModuleNotFoundError):
        needed("casemate run", ModuleNotFoundError("x", name="casemate.nothing"))
