"""Nothing leaves: every command, the gateway under load and every import, where each call, name and
written file is recorded.

The environment of the commands is empty but for PATH and HOME: several libraries are silent by
themselves where CI is set.
"""

import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from tests.silence import verbs

import casemate
from casemate.cli import build_parser
from casemate.core import quiet

HERE = Path(__file__).parent
HOME, PASSWORD = str(verbs.HOME), {"PW": "correct horse battery"}
OURS = [
    f"{HOME}/{folder}"
    for folder in ("clinic", ".config/casemate", ".local/state/casemate", ".cache/casemate")
]
"""The project, the key store, the session and the cache: what SECURITY.md says."""
ASKED_FOR = [
    f"{HOME}/{name}"
    for name in (
        "out",
        "app",
        "witness",
        "restored",
        "clinic.backup",
        "clinic.backup.subjects",
        "clinic.keys",
        "rows.csv",
        "prometheus",
        "consent.json",
        "copy",
        "elasticsearch",
        "rsyslog",
        "watch.html",
        "pseudonyms.key",
        "wdbc-anonymous.csv",
    )
]
ASKED_FOR += [
    f"{HOME}/{name}"
    for name in ("exported", "image", "docker", "certificate", "evidence", "records", "iam", "ml")
]
ASKED_FOR += [f"{HOME}/{name}" for name in ("flower", "sagemaker", "bill.json", "bill.json.sig")]
ASKED_FOR += [f"{HOME}/withdrawn.json", f"{HOME}/findings.sarif"]
ASKED_FOR += [f"{HOME}/{name}" for name in ("crl.pem", "entry.proof", "safe.key", "safe.key.pub")]
"""What the words of a command named."""
MATPLOTLIB = (
    f"{HOME}/.cache/matplotlib",
    f"{HOME}/.config/matplotlib",
    f"{HOME}/.cache/fontconfig",
    "/var/cache",
)
ART = f"{HOME}/.art"
BANDIT = f"{HOME}/.cache/python-entrypoints"
"""Of the loader of bandit's plugins (stevedore); a scan starts bandit where its home is a folder
that is removed afterwards.
"""
SWITCH = '{"ORT_DISABLE_TELEMETRY": "1"}'


def recorded(root: Path, *steps: dict) -> list[dict]:
    """What the recorder says of each step; the test is skipped, visibly, where there are no such
    namespaces.
    """
    if sys.platform != "linux" or not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("needs Linux with unshare (util-linux) and ip (iproute2)")
    package = Path(casemate.__file__).parents[1]
    watched = sorted({sys.prefix, str(package)})
    shared = sorted({sys.prefix, sys.base_prefix, str(package), str(HERE.parents[1])}, key=len)
    job = {
        "root": str(root),
        "shared": shared,
        "watched": watched,
        "steps": [{"seconds": 900, **step} for step in steps],
    }
    words = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
    if subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("namespaces are not permitted here")
    done = subprocess.run(
        [*words, sys.executable, str(HERE / "recorder.py")],
        input=json.dumps(job),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    record = json.loads(done.stdout)
    assert record["lost"] == 0, "packets were lost: the record is not whole"
    return record["steps"]


def python(*words: str, **more: object) -> dict:
    """A step."""
    return {"words": [sys.executable, *words], "packages": True, **more}


def call(what: str, *words: str, **more: object) -> dict:
    """A step of verbs.py."""
    return python(str(HERE / "verbs.py"), what, *words, **more)


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """One namespace: every command, the gateway, and the gateway again with the most talkative
    library's switch taken away.
    """
    path = Path(quiet.__file__)
    without = path.read_text().replace(SWITCH, "{}")
    assert SWITCH in path.read_text()
    steps = {
        "day": call("day"),
        "served": call("served", environment=PASSWORD),
        "mutant": call("served", environment=PASSWORD, replaced={str(path): without}),
    }
    return dict(zip(steps, recorded(tmp_path_factory.mktemp("root"), *steps.values()), strict=True))


def elsewhere(files: list[str], allowed: list[str]) -> list[str]:
    """Those files that lie in none of the folders, nor lead to one."""
    return [
        path
        for path in files
        if not any(
            path == one or path.startswith(one + "/") or one.startswith(path + "/")
            for one in allowed
        )
    ]


def test_no_command_calls_anybody_or_asks_for_a_name(life):
    day = life["day"]
    assert day["code"] == 0, day["err"]
    assert (day["names"], day["calls"]) == ([], [])


def test_no_command_writes_outside_the_project_the_key_store_the_session_and_the_cache(life):
    assert elsewhere(life["day"]["files"], OURS + ASKED_FOR) == []
    assert elsewhere(life["served"]["files"], OURS + ASKED_FOR) == []
    assert f"{HOME}/clinic/.casemate/catalog.db" in life["day"]["files"], (
        "the recorder sees what is written"
    )


def test_a_gateway_under_load_is_called_and_calls_nobody(life):
    served = life["served"]
    answer = json.loads(served["out"].splitlines()[-1])
    assert served["code"] == 0, served["err"]
    assert answer["answers"] > 20
    assert (answer["predict"], answer["codes"][:2]) == (0, [0, 0])
    assert "requests answered" in answer["watcher"]
    assert "http" in answer["witness"]
    assert served["names"] == []
    assert set(served["calls"]) == {f"tcp 127.0.0.1 {answer['port']}"}


def test_the_recorder_hears_a_library_whose_switch_was_taken_away(life):
    mutant = life["mutant"]
    assert mutant["code"] == 0, mutant["err"]
    assert [name for name in mutant["names"] if name.endswith("microsoft.com")]
    assert [called for called in mutant["calls"] if called.startswith("tcp 203.0.113.7 ")]
    assert [path for path in elsewhere(mutant["files"], OURS + ASKED_FOR) if "onnxruntime" in path]


def test_every_command_is_called(life):
    assert sorted([*verbs.CALLS, *verbs.REFUSED, *verbs.SERVED]) == sorted(
        verbs.leaves(build_parser())
    )
    answers = json.loads(life["day"]["out"].splitlines()[-1])
    assert {name: code for name, code in answers.items() if name in verbs.CALLS and code} == {}


def locked() -> list[str]:
    """How everything in the locks is imported, as far as it is installed."""
    locks = "\n".join(path.read_text() for path in (HERE.parents[1] / "requirements").glob("*.txt"))
    wanted = {
        re.sub(r"[-_.]+", "-", name).lower()
        for name in re.findall(r"^([\w.-]+)==", locks, re.MULTILINE)
    }
    found = metadata.packages_distributions().items()
    names = [
        name
        for name, owners in found
        if any(re.sub(r"[-_.]+", "-", owner).lower() in wanted for owner in owners)
    ]
    return sorted(name for name in names if name.isidentifier() and not name.startswith("_"))


def test_no_package_of_the_locks_writes_or_calls_when_it_is_imported_after_casemate(tmp_path):
    names = locked()
    (step,) = recorded(tmp_path, call("imports", "casemate", *names))
    assert len(names) > 100
    # one minds that distutils was imported, one wants a package that it does not declare
    unfit = {"setuptools", "adbc_driver_duckdb"}
    assert set(json.loads(step["out"].splitlines()[-1])) <= unfit
    assert (step["names"], step["calls"]) == ([], [])
    assert elsewhere(step["files"], [*MATPLOTLIB, ART, BANDIT]) == [], (
        "of whoever draws pictures or scans: casemate does it elsewhere"
    )


@pytest.mark.long
def test_the_toolbox_of_attacks_leaves_nothing_behind_where_casemate_imports_it(tmp_path):
    pytest.importorskip("art")
    script = (
        "from casemate.core import quiet\nwith quiet.temporary_home():\n    import"
        " art.attacks.evasion"
    )
    ours, plain = recorded(
        tmp_path, python("-c", script), python("-c", "import art.attacks.evasion")
    )
    assert (ours["code"], ours["names"], ours["calls"]) == (0, [], []), ours["err"]
    assert elsewhere(ours["files"], list(MATPLOTLIB)) == []
    assert [path for path in plain["files"] if path.startswith(ART)], (
        "the recorder sees what it would write"
    )


BUCKET = """
import sys
from casemate.core.blobs import S3Blobs, S3Place
from casemate.core.errors import Error
keys = {"access_key": "AKIDEXAMPLE", "secret_key": "secret"} if sys.argv[1] == "keys" else {}
try:
    S3Blobs(S3Place("bucket", "", "https://s3.example.org", "eu-west-1", **keys), None).names()
except Error as error:
    print(error)
"""


def test_the_machines_metadata_service_is_asked_only_where_a_bucket_has_no_keys(tmp_path):
    pytest.importorskip("boto3")
    given, found = recorded(tmp_path, python("-c", BUCKET, "keys"), python("-c", BUCKET, "none"))
    assert (given["names"], given["calls"]) == (["s3.example.org"], ["tcp 203.0.113.7 443"])
    assert (found["names"], set(found["calls"])) == ([], {"tcp 169.254.169.254 80"})


def test_the_demo_works_where_nothing_leaves(tmp_path, pytestconfig):
    if not pytestconfig.getoption("--full"):
        pytest.skip("the whole job at its full size: --full")
    (step,) = recorded(tmp_path, python(str(HERE.parents[1] / "demo" / "demo.py")))
    assert step["code"] == 0, step["err"]
    port = re.search(r"https://127\.0\.0\.1:(\d+)", step["out"])[1]
    assert (step["names"], step["calls"]) == ([], [f"tcp 127.0.0.1 {port}"])
    assert elsewhere(step["files"], []) == []


def test_every_package_that_is_told_to_be_silent_is_one_of_the_locks():
    assert {effect.package for effect in quiet.SIDE_EFFECTS if effect.package} <= set(locked())
