"""`casemate doctor --security`: good, weak, or could not be looked at, which is not good."""

import datetime
import json
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
from tests.unit.operations.test_scans import NOW, Clock

import casemate
from casemate.cli import main
from casemate.operations import doctor, selfcheck
from casemate.operations.selfcheck import kept, machine, software

SOUND = {
    **{f"proc/sys/{one.name.replace('.', '/')}": str(one.least) for one in machine.SETTINGS},
    "proc/sys/kernel/core_pattern": "core",
    "proc/sys/fs/suid_dumpable": "0",
    "proc/self/status": "Name:\tx\nUmask:\t0027\n",
    "proc/swaps": "Filename\tType\tSize\tUsed\tPriority\n",
    "sys/devices/system/cpu/vulnerabilities/meltdown": "Mitigation: PTI",
}
"""Files in which a well-kept kernel tells of itself."""
LOOKERS = (machine.settings, machine.processor, machine.dumps, machine.swap, machine.umask)


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Its looks, with some files changed; None: not there."""
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (0, 0))

    def looks(changed=None):
        root = tmp_path / "root"
        for name, text in (SOUND | (changed or {})).items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(text)
        found = selfcheck._looked({look.__name__: look for look in LOOKERS}, lambda one: one(root))
        return {look.subject: look for look in found}

    return looks


def test_a_well_kept_kernel_is_good(kernel):
    found = kernel()
    assert {look.mark for look in found.values()} == {"good"}
    assert len(found) == len(machine.SETTINGS) + 5


@pytest.mark.parametrize(
    ("file", "text", "subject", "mark"),
    [
        ("proc/sys/kernel/randomize_va_space", "1", "kernel: randomize_va_space", "weak"),
        ("proc/sys/kernel/dmesg_restrict", None, "kernel: dmesg_restrict", "could-not-look"),
        ("proc/sys/kernel/dmesg_restrict", "often", "kernel: dmesg_restrict", "could-not-look"),
        ("proc/sys/kernel/yama/ptrace_scope", None, "kernel: yama.ptrace_scope", "weak"),
        ("proc/sys/fs/protected_symlinks", "0", "kernel: protected_symlinks", "weak"),
        ("proc/sys/kernel/core_pattern", "|/usr/share/apport %p", "core dumps", "weak"),
        ("proc/sys/kernel/core_pattern", None, "dumps", "could-not-look"),
        ("proc/sys/fs/suid_dumpable", "1", "core dumps: suid", "weak"),
        ("proc/self/status", "Umask:\t0002\n", "umask", "weak"),
        ("proc/self/status", "Name:\tx\n", "umask", "could-not-look"),
        ("proc/swaps", "F\n/dev/sda2 partition 9 0 -2\n", "swap", "weak"),
        ("proc/swaps", "F\n/dev/zram0 partition 9 0 -2\n", "swap", "good"),
        ("proc/swaps", None, "swap", "could-not-look"),
        (
            "sys/devices/system/cpu/vulnerabilities/meltdown",
            "Vulnerable",
            "processor",
            "weak",
        ),
    ],
)
def test_what_a_kernel_lacks_or_does_not_tell_is_not_good(kernel, file, text, subject, mark):
    look = kernel({file: text})[subject]
    assert look.mark == mark
    assert bool(look.advice) == (mark == "weak")


@pytest.mark.parametrize(("kind", "mark"), [("CRYPT-PLAIN-swap", "good"), ("LVM-x", "weak")])
def test_swap_is_good_where_its_device_is_encrypted(kernel, kind, mark):
    block = {"sys/block/dm-3/dm/name": "swap\n", "sys/block/dm-3/dm/uuid": kind}
    lines = "F\n/dev/mapper/swap partition 9 0 -2\n"
    assert kernel({**block, "proc/swaps": lines})["swap"].mark == mark


def test_dumps_that_a_limit_permits_are_weak(kernel, monkeypatch):
    monkeypatch.setattr(machine.resource, "getrlimit", lambda _: (1, 1))
    assert kernel()["core dumps"].mark == "weak"


def test_a_kernel_without_the_sandboxs_ground_says_what_falls_away(monkeypatch):
    none = dict.fromkeys(("landlock", "seccomp", "namespaces", "root"), False)
    monkeypatch.setattr(machine, "available", lambda: none)
    monkeypatch.setattr(machine.confine, "landlock_abi", lambda: 0)
    looks = list(machine.sandbox(None))
    assert {look.mark for look in looks} == {"weak"} and all(look.advice for look in looks)
    assert "nothing holds" in looks[0].state
    monkeypatch.setattr(machine.confine, "landlock_abi", lambda: 3)
    assert next(machine.sandbox(None)).state == "ABI 3, without commands to devices"


def test_variables_that_undo_protection_are_weak(monkeypatch):
    for name in machine.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert list(machine.variables(None)) == []
    monkeypatch.setenv("SSLKEYLOGFILE", "/tmp/x")
    (look,) = machine.variables(None)
    assert look.mark == "weak" and "TLS sessions" in look.state


class Library:
    __name__ = "sqlite3.dbapi2"

    def __init__(self, version):
        self.sqlite_version_info = version
        self.sqlite_version = ".".join(map(str, version))


@pytest.mark.parametrize(
    ("version", "mark", "named"),
    [
        ((3, 40, 1), "weak", {"CVE-2023-7104", "CVE-2025-6965"}),
        ((3, 49, 1), "weak", {"CVE-2025-6965", "CVE-2025-7709"}),
        ((3, 45, 0), "weak", {"CVE-2025-3277", "CVE-2025-6965"}),
        ((3, 51, 3), "good", set()),
        ((3, 53, 4), "good", set()),
    ],
)
def test_faults_of_the_sqlite_in_use_are_named(monkeypatch, version, mark, named):
    monkeypatch.setattr(software, "driver", Library(version))
    library, functions = software.sqlite()
    assert library.mark == mark
    assert {one.name for one in software.FAULTS if one.name in functions.state} == named


def test_nobody_else_reads_keys_or_writes_configuration_and_state(tiny_project):
    project = casemate.open(tiny_project)
    assert [look.mark for look in kept.keys(project)] == ["good"]
    key = next(path for path in project.keystore.folder.iterdir() if path.is_file())
    before = key.stat().st_mode
    key.chmod(0o640)
    (look,) = kept.keys(project)
    assert look.mark == "weak" and key.name in look.state
    key.chmod(before)
    (tiny_project / "casemate.toml").chmod(0o666)
    assert next(kept.configuration(project)).mark == "weak"
    (project.state / "left").mkdir(mode=0o700)
    (project.state / "left").chmod(0o777)
    assert "left" in next(kept.state(project)).state


def test_a_folder_with_more_than_anybody_looks_through_is_not_good(tiny_project, monkeypatch):
    monkeypatch.setattr(kept, "MOST_FILES", 3)
    assert next(kept.state(casemate.open(tiny_project))).mark == "could-not-look"


@pytest.mark.parametrize(("mode", "good"), [(0o777, False), (0o1777, True), (0o755, True)])
def test_whoever_may_write_a_folder_above_may_replace_the_project(tmp_path, mode, good):
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(mode)
    assert kept._is_replaceable(os.stat(folder)) != good


def test_a_clock_behind_the_log_is_weak(tiny_project):
    project = casemate.open(tiny_project)
    assert next(kept.clock(project)).mark == "good"
    project.clock = Clock()
    project.clock.time = NOW - datetime.timedelta(hours=1)
    assert next(kept.clock(project)).mark == "weak"


def test_a_look_that_breaks_has_not_looked():
    def broken():
        raise ZeroDivisionError("oh")

    (look,) = selfcheck._looked({"x": broken}, lambda one: one())
    assert (look.mark, look.state) == ("could-not-look", "looking failed: ZeroDivisionError: oh")


@pytest.mark.parametrize(
    ("marks", "code"),
    [
        (("good",), 0),
        (("good", "weak"), 1),
        (("weak", "could-not-look"), 5),
    ],
)
def test_the_exit_code_says_the_worst(monkeypatch, capsys, marks, code):
    looks = [selfcheck.Look(mark=mark, subject="x", state="y") for mark in marks]
    monkeypatch.setattr(selfcheck, "examine", lambda *_: looks)
    assert main(["doctor", "--security", "--format", "json"]) == code
    assert [one["mark"] for one in json.loads(capsys.readouterr().out)] == list(marks)


def test_without_a_project_the_machine_is_looked_at_and_the_project_is_not(tmp_path):
    looks = {look.subject: look for look in selfcheck.examine(str(tmp_path), [])}
    assert looks["project"].mark == "could-not-look"
    assert "SQLite" in looks and "telemetry: onnxruntime" in looks and "key store" not in looks


def test_doctor_shows_what_reads_buckets_and_workbooks_before_there_is_a_project(
    tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, "boto3", None)
    found = {check.subject: check for check in doctor.examine(str(tmp_path), [])}
    assert found["project"].mark == "note"
    absent = found["extra: boto3"]
    assert (absent.mark, absent.state) == ("note", "absent")
    assert "pip install 'casemate[s3]'" in absent.advice
    assert found["extra: python_calamine"].state == "installed"
    known = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = set(re.findall(r"casemate\[(\w+)\]", " ".join(doctor.EXTRAS.values())))
    assert {"s3", "spreadsheets", "duckdb", "postgres"} <= named <= {*known}
