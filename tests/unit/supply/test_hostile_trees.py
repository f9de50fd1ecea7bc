"""Trees that are too large, lead elsewhere or hide something: named, and done in bounded memory."""

import os
import resource

import pytest

from casemate.supply.scanners.interface import Place, looked
from casemate.supply.scanners.learning import Learning
from casemate.supply.scanners.manifests import everything
from casemate.supply.scanners.place import listed
from casemate.supply.scanners.texts import texts

GIB = 2**30


@pytest.fixture
def tree(tmp_path):
    """A folder, and the place that it is."""
    root = tmp_path / "tree"
    root.mkdir()

    def place():
        files, unseen, _ = listed(root)
        work = tmp_path / "work"
        work.mkdir(exist_ok=True)
        return Place(root, tuple(files), unseen, work)

    return root, place


@pytest.fixture
def bounded():
    """No reader may take what is large into memory."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + GIB // 2, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("start", [b"", b'{"cells": [', b"\0", b"\xff\xfe"])
@pytest.mark.parametrize("name", ["big.ipynb", "big.py", ".env", "big.txt", "requirements.txt"])
@pytest.mark.usefixtures("bounded")
def test_a_text_of_a_gibibyte_is_named_and_never_read_whole(name, start, tree):
    root, place = tree
    with (root / name).open("wb") as file:
        file.write(start)
        file.truncate(GIB)  # sparse: it takes no disk
    where = place()
    folder = where.folder("texts")
    assert "larger than" in texts(where, folder).unseen[name]
    assert os.listdir(folder) == []
    if name in ("big.ipynb", "big.py"):
        assert "larger than" in looked(Learning(), where).unseen[name]
    if name == "requirements.txt":
        assert "larger than" in everything(where).unseen[name]


def test_a_large_file_that_is_no_text_is_counted_as_that(tree):
    root, place = tree
    with (root / "model.bin").open("wb") as file:
        file.truncate(GIB)
    where = place()
    found = texts(where, where.folder("texts"))
    assert (found.unseen, found.binary) == ({}, 1)


@pytest.mark.parametrize("target", ["/etc/hostname", "/etc", "..", "/proc/self/root", "loop"])
def test_what_links_lead_to_outside_is_named_and_never_listed(target, tree):
    root, _ = tree
    (root / "a.py").write_text("x = 1\n")
    (root / "loop").symlink_to(target)
    files, unseen, _ = listed(root)
    assert files == ["a.py"] and set(unseen) == {"loop"}


def test_a_tree_that_holds_itself_by_a_link_is_listed_once(tree):
    root, _ = tree
    (root / "a").mkdir()
    (root / "a" / "b.py").write_text("x = 1\n")
    (root / "a" / "again").symlink_to(root)
    files, unseen, _ = listed(root)
    assert (files, unseen) == (["a/b.py"], {})


def test_of_more_files_than_anybody_looks_at_the_scan_says_so(tree):
    root, _ = tree
    for number in range(30):
        (root / f"{number:02}.py").touch()
    files, unseen, _ = listed(root, most=20)
    assert len(files) == 20 and "more than 20 files" in unseen["."]


@pytest.mark.slow
def test_a_hundred_thousand_files_are_listed(tree, pytestconfig):
    root, _ = tree
    folders = 100 if pytestconfig.getoption("--full") else 3
    for folder in range(folders):
        (root / str(folder)).mkdir()
        for number in range(1000):
            (root / str(folder) / f"{number}.txt").touch()
    files, unseen, _ = listed(root)
    assert (len(files), unseen) == (1000 * folders, {})
