"""What confined code is seen to try: files, names, sockets; and the paths that a new root must have."""

import json
import os
import tempfile
from pathlib import Path

import pytest

from casemate.core.sandbox import child, kernel, root


class Told:
    """A channel that can be read."""

    def __init__(self):
        self.reader, writer = os.pipe()
        self.channel = child.Channel(writer)

    def findings(self):
        self.channel._file.close()
        with os.fdopen(self.reader) as lines:
            return [json.loads(line)["finding"] for line in lines]


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def folders():
    # pytest's own folder may lie in /dev/shm, and what is below /dev is not told
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        for name in ("inputs", "outputs", "elsewhere"):
            (Path(folder) / name).mkdir()
        yield Path(folder)


def watch(told, folders):
    return child.Watch(told.channel, [str(folders / "inputs")], [str(folders / "outputs")])


def test_what_lies_among_inputs_and_outputs_is_not_told(told, folders):
    seen = watch(told, folders)
    seen("open", (folders / "inputs" / "table", "r", 0))
    seen("open", (os.fsencode(folders / "outputs" / "model"), "w", 0))
    seen("os.remove", (str(folders / "outputs" / "model"), -1))
    seen("open", ("/proc/self/status", "r", 0))
    seen("open", (None, "r", 0))
    seen("import", ("json",))
    assert told.findings() == []


def test_a_file_outside_is_told_once_with_its_true_path(told, folders):
    (folders / "inputs" / "link").symlink_to(folders / "elsewhere" / "secret")
    seen = watch(told, folders)
    for path in ("link", "../elsewhere/secret", "link"):
        seen("open", (str(folders / "inputs" / path), "r", 0))
    (found,) = told.findings()
    assert (found["id"], found["severity"]) == ("sandbox.file", "high")
    assert found["location"] == str(folders / "elsewhere" / "secret")


def test_settings_of_the_system_are_a_small_matter_and_passwords_a_great_one(told, folders):
    seen = watch(told, folders)
    seen("open", ("/etc/hosts", "r", 0))
    seen("open", ("/etc/shadow", "r", 0))
    assert [found["severity"] for found in told.findings()] == ["low", "high"]


def test_a_name_is_told_as_it_stands_also_beside_an_open_folder_and_at_both_its_ends(told, folders):
    descriptor = os.open(folders / "elsewhere", os.O_RDONLY)
    seen = watch(told, folders)
    (folders / "elsewhere" / "link").symlink_to(folders / "outputs")
    seen("os.remove", ("link", descriptor))
    seen("os.rename", (str(folders / "outputs" / "a"), str(folders / "inputs" / "b"), -1, -1))
    seen("os.chmod", (descriptor, 0o777, -1))
    os.close(descriptor)
    assert [(found["id"], found["location"]) for found in told.findings()] == [
        ("sandbox.metadata", str(folders / "elsewhere" / "link")),
        ("sandbox.metadata", str(folders / "inputs" / "b")),
        ("sandbox.metadata", str(folders / "elsewhere")),
    ]


def test_sockets_of_the_internet_and_names_are_told_and_others_are_not(told, folders):
    seen = watch(told, folders)
    for family in (2, 10, 1):
        seen("socket.__new__", (None, family, 1, 0))
    seen("socket.getaddrinfo", ("example.org" * 20, 443, 0, 0, 0))
    found = told.findings()
    assert [one["id"] for one in found] == ["sandbox.network", "sandbox.network"]
    assert len(found[1]["message"]) < 150


def test_code_that_tries_without_end_is_told_so_and_then_no_more(told, folders, monkeypatch):
    monkeypatch.setattr(child, "_MAX_ATTEMPTS", 3)
    seen = watch(told, folders)
    for number in range(10):
        seen("open", (str(folders / "elsewhere" / str(number)), "r", 0))
    assert [one["id"] for one in told.findings()] == ["sandbox.file"] * 4 + ["sandbox.attempts"]


def test_a_path_is_followed_through_every_link_and_a_circle_ends(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to("a/../c")
    (tmp_path / "c").symlink_to(tmp_path / "a")
    place, links = root.resolve(f"{tmp_path}/b/table")
    assert place == f"{tmp_path}/a/table"
    assert [link for link, _ in links] == [f"{tmp_path}/b", f"{tmp_path}/c"]
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="too many links"):
        root.resolve(f"{tmp_path}/round/x")


def test_what_the_kernel_offers_is_asked_in_children_that_leave_this_process_as_it_was():
    before = os.getuid(), os.getcwd(), os.readlink("/proc/self/ns/user")
    offered = kernel.available()
    assert set(offered) == {"landlock", "seccomp", "namespaces", "root"}
    assert offered["seccomp"]
    assert (os.getuid(), os.getcwd(), os.readlink("/proc/self/ns/user")) == before
    assert kernel._tried(lambda: None)
    assert not kernel._tried(lambda: 1 / 0)
