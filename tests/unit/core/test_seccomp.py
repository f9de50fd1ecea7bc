"""The filter of system calls, executed here for both machines as the kernel would."""

import errno
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.core.sandbox import calls, confined, root, seccomp
from casemate.stages.train import study

MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
ALLOW, KILL = "allow", "kill"


def answer(
    machine: str,
    number: int,
    *arguments: int,
    metadata: bool = True,
    architecture: int | None = None,
) -> object:
    """What the filter says to a call: `ALLOW`, `KILL` or an error number."""
    found = MACHINES[machine][0] if architecture is None else architecture
    words = {0: number, 4: found}
    for place in range(6):
        value = arguments[place] if place < len(arguments) else 0
        words[16 + 8 * place], words[20 + 8 * place] = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
    program = seccomp.program(machine, metadata=metadata)
    place = accumulator = 0
    while True:
        code, true, false, constant = program[place]
        place += 1
        if code == 0x20:
            accumulator = words[constant]
        elif code == 0x54:
            accumulator &= constant
        elif code == 0x06:
            return {0x7FFF0000: ALLOW, 0x80000000: KILL}.get(constant, constant & 0xFFFF)
        else:
            holds = {
                0x15: accumulator == constant,
                0x35: accumulator >= constant,
                0x25: accumulator > constant,
                0x45: accumulator & constant,
            }
            place += true if holds[code] else false


def number(name: str, machine: str) -> int | None:
    groups = (calls.ALLOWED, calls.CHECKED, calls.MODES_AND_TIMES, calls.OWNERS, calls.ATTRIBUTES)
    return next(group[name] for group in groups if name in group)[MACHINES[machine][1]]


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_listed_is_allowed_and_every_other_number_refused(machine):
    listed = {
        both[MACHINES[machine][1]]
        for group in (calls.ALLOWED, calls.CHECKED)
        for both in group.values()
    }
    metadata = {
        both[MACHINES[machine][1]]
        for group in (calls.MODES_AND_TIMES, calls.OWNERS, calls.ATTRIBUTES)
        for both in group.values()
    }
    for call in [*range(1000), 0x3FFFFFFF]:
        found = answer(machine, call)
        if (
            call in listed - {both[MACHINES[machine][1]] for both in calls.CHECKED.values()}
            or call in metadata
        ):
            assert found == ALLOW
        elif call not in listed:
            assert found == (errno.ENOSYS if call >= 424 else errno.EPERM)


@pytest.mark.parametrize("machine", MACHINES)
def test_metadata_that_no_mount_protects_is_not_changed_by_any_call(machine):
    for group, said in (
        (calls.MODES_AND_TIMES, 0),
        (calls.OWNERS, errno.EPERM),
        (calls.ATTRIBUTES, errno.EOPNOTSUPP),
    ):
        for both in group.values():
            if (call := both[MACHINES[machine][1]]) is not None:
                assert answer(machine, call, metadata=False) == said


@pytest.mark.parametrize("machine", MACHINES)
@given(st.integers(0, 2**64 - 1))
def test_clone_makes_no_namespace_whatever_else_it_is_asked(machine, flags):
    asks = any(
        flags & flag
        for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
    )
    assert answer(machine, number("clone", machine), flags) == (errno.EPERM if asks else ALLOW)


@pytest.mark.parametrize("machine", MACHINES)
def test_arguments_decide(machine):
    def ask(name: str, *arguments: int) -> object:
        return answer(machine, number(name, machine), *arguments)

    assert ask("clone", 0x3D0F00) == ALLOW  # what pthread_create asks for
    assert answer(machine, 435) == errno.ENOSYS  # clone3: glibc falls back to clone
    assert [ask("prctl", option) for option in (15, 1, 4, 22, 8, 24)] == [ALLOW, *[errno.EPERM] * 5]
    assert [ask("prlimit64", pid) for pid in (0, 1)] == [ALLOW, errno.EPERM]
    assert [ask("ioctl", 3, request) for request in (0x5401, 0x5412, 0x40086602)] == [
        ALLOW,
        errno.ENOTTY,
        errno.ENOTTY,
    ]
    assert [ask("fcntl", 3, command) for command in (1030, 8, 1024, 1031)] == [
        ALLOW,
        *[errno.EPERM] * 3,
    ]
    kinds = (1, 5, 1 | 0x80800, 2, 3, 2 | 0x80000)
    assert [ask("socketpair", 1, kind) for kind in kinds] == [ALLOW] * 3 + [errno.EPERM] * 3
    assert ask("socketpair", 2, 1) == errno.EPERM


def test_other_architectures_end_the_process_and_their_numbers_lead_nowhere():
    assert answer("x86_64", 1, architecture=0x40000003) == KILL
    assert answer("x86_64", 0x40000000 + 90) == errno.EPERM


def test_what_is_required_includes_files_and_what_is_known_of_them():
    assert confined(["landlock", "seccomp", "capabilities", "root"])
    assert confined(["landlock", "seccomp", "capabilities", "metadata"])
    assert not confined(["landlock", "seccomp", "capabilities", "namespaces"])
    assert not confined(["landlock", "seccomp", "root"])
    assert not confined(["seccomp", "capabilities", "root"])


def test_a_path_through_links_is_found_with_its_links(tmp_path):
    (tmp_path / "real" / "python").mkdir(parents=True)
    (tmp_path / "one").symlink_to("real")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    found, links = root.resolve(str(tmp_path / "two" / "python" / ".." / "python"))
    assert found == str(tmp_path / "real" / "python")
    assert links == [
        (str(tmp_path / "two"), str(tmp_path / "one")),
        (str(tmp_path / "one"), "real"),
    ]
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="links"):
        root.resolve(str(tmp_path / "loop"))


def test_what_code_leaves_in_its_study_is_removed_but_for_the_journal(tmp_path):
    (tmp_path / "journal").write_text("trials")
    for name in ("left.lock", "rows", "shut"):
        (tmp_path / name / "deep").mkdir(parents=True)
    (tmp_path / "shut" / "deep").chmod(0)
    (tmp_path / "shut").chmod(0)
    (tmp_path / "lock").write_text("")
    (tmp_path / "link").symlink_to("/etc")
    study.clean(tmp_path)
    assert os.listdir(tmp_path) == ["journal"]
    (tmp_path / "journal").unlink()
    (tmp_path / "journal").symlink_to("/etc/hostname")
    study.clean(tmp_path)
    assert os.listdir(tmp_path) == []
    (tmp_path / "journal").mkdir()
    study.clean(tmp_path)
    assert os.listdir(tmp_path) == []
