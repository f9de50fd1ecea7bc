"""What is rendered and what somebody has written: both stay, or nothing is written at all."""

import json
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import TOML, often

from casemate.config import parse
from casemate.core.errors import BackendError, ConfigError
from casemate.deploy import checking, merging, state
from casemate.deploy.files import write
from casemate.deploy.interface import Given
from casemate.deploy.merging import merge
from casemate.deploy.targets import TARGETS

OLD = b"".join(b"line %d\n" % number for number in range(20))
NEW = OLD.replace(b"line 15\n", b"line 15, anew\n")


def everything(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_lines_of_ones_own_and_new_ones_are_both_in_the_file_and_stay_there(tmp_path):
    write(tmp_path, "t", {"f": OLD})
    (tmp_path / "f").write_bytes(OLD.replace(b"line 3\n", b"mine\n"))
    done = write(tmp_path, "t", {"f": NEW})
    assert (done.written, done.edited) == (["f"], ["f"])
    joined = NEW.replace(b"line 3\n", b"mine\n")
    assert (tmp_path / "f").read_bytes() == joined
    again = write(tmp_path, "t", {"f": NEW})
    assert (again.written, again.kept, again.edited) == ([], ["f"], ["f"])
    write(tmp_path, "t", {"f": OLD})
    assert (tmp_path / "f").read_bytes() == OLD.replace(b"line 3\n", b"mine\n")


def test_a_contradiction_names_file_and_lines_and_nothing_is_written(tmp_path):
    write(tmp_path, "t", {"f": OLD, "g": OLD})
    (tmp_path / "f").write_bytes(b"own\n" + OLD.replace(b"line 15\n", b"mine\nmine too\n"))
    before = everything(tmp_path)
    with pytest.raises(ConfigError, match=r"f: what you wrote \(lines 17-18\)") as caught:
        write(tmp_path, "t", {"f": NEW, "g": NEW})
    assert "--replace" in caught.value.hint
    assert everything(tmp_path) == before
    write(tmp_path, "t", {"f": NEW, "g": NEW}, replace=True)
    assert (tmp_path / "f").read_bytes() == NEW


def test_a_file_that_casemate_did_not_render_is_refused_unless_it_is_the_same(tmp_path):
    (tmp_path / "f").write_bytes(b"somebody's\n")
    with pytest.raises(ConfigError, match="f is there already"):
        write(tmp_path, "t", {"f": NEW})
    assert everything(tmp_path) == {"f": b"somebody's\n"}
    (tmp_path / "f").write_bytes(NEW)
    assert write(tmp_path, "t", {"f": NEW}).kept == ["f"]


def test_what_is_rendered_no_more_goes_unless_somebody_has_written_into_it(tmp_path):
    write(tmp_path, "t", {"f": OLD, "g": OLD, "h": OLD})
    (tmp_path / "g").write_bytes(b"mine\n")
    with pytest.raises(ConfigError, match="g is rendered no more, and you have edited it"):
        write(tmp_path, "t", {"f": OLD})
    (tmp_path / "g").unlink()
    assert write(tmp_path, "t", {"f": OLD}).removed == ["h"]
    assert sorted(everything(tmp_path)) == [state.FILE, "f"]


def test_two_targets_share_a_folder_but_no_file(tmp_path):
    write(tmp_path, "one", {"README.md": OLD, "ca.pem": OLD})
    with pytest.raises(ConfigError, match=r"README\.md is rendered for one"):
        write(tmp_path, "two", {"README.md": NEW, "ca.pem": OLD}, replace=True)
    write(tmp_path, "two", {"b": NEW, "ca.pem": OLD})
    assert sorted(state.read(tmp_path).targets) == ["one", "two"]


@pytest.mark.parametrize("name", ["../f", "/etc/f", "a/../../f", "", "a\\f", "link/f", "dangling"])
def test_nothing_is_written_outside_the_folder_nor_read_there(tmp_path, name):
    folder, outside = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "dangling").symlink_to(outside / "f")
    with pytest.raises(ConfigError):
        write(folder, "t", {name: OLD}, replace=True)
    assert everything(outside) == {}
    kept = state.State(targets={"t": state.Last(options={}, files=state.keep({name: OLD}))})
    (folder / state.FILE).write_bytes(kept.to_json())
    with pytest.raises(ConfigError):
        state.read(folder)


def test_what_is_in_the_way_is_named_and_nothing_is_written(tmp_path):
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").mkdir()
    with pytest.raises(ConfigError, match=r"a is in the way of a/f.*b is in the way of b"):
        write(tmp_path, "t", {"0": OLD, "a/f": OLD, "b": OLD}, replace=True)
    assert not (tmp_path / "0").exists()
    with pytest.raises(ConfigError, match="in the way"):
        write(tmp_path / "a", "t", {"f": OLD})


def test_a_state_that_casemate_did_not_write_is_refused(tmp_path):
    write(tmp_path, "t", {"f": OLD})
    path = tmp_path / state.FILE
    whole = json.loads(path.read_bytes())
    (tmp_path / "f").write_bytes(b"mine\n")
    whole["targets"]["t"]["files"]["f"]["sha256"] = "0" * 64
    for content in (
        b"{}]",
        b"[]",
        json.dumps(whole | {"format": 2}).encode(),
        b'{"targets": {"\xff": 1}}',
        b" " * (state.MOST + 1),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError):
            write(tmp_path, "t", {"f": NEW})
    path.write_text(json.dumps(whole))
    with pytest.raises(ConfigError, match="a digest in it does not hold"):
        write(tmp_path, "t", {"f": NEW})
    assert (tmp_path / "f").read_bytes() == b"mine\n"


def test_settings_of_git_do_not_change_what_comes_out(tmp_path, monkeypatch):
    (tmp_path / ".gitconfig").write_text("[merge]\nconflictStyle = diff3\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "merge.conflictStyle")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "zdiff3")
    assert merge(OLD, OLD.replace(b"line 15\n", b"x\n"), NEW).conflicts == ["line 16"]
    assert merge(OLD, OLD.replace(b"line 15\n", b""), NEW).conflicts == [
        "before line 16, where lines are gone"
    ]


def test_without_git_or_with_bytes_that_are_no_text_it_says_so(tmp_path, monkeypatch):
    with pytest.raises(BackendError, match="one of them is no text"):
        merge(OLD, b"\0" + OLD, NEW)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError, match="there is no git") as caught:
        merge(OLD, OLD + b"x\n", NEW)
    assert "install git" in caught.value.hint


LINES = st.lists(st.sampled_from([b"a\n", b"b\n", b"=======\n", b">>>>>>> x\n", b"\n"]), max_size=8)


@pytest.mark.slow
@settings(max_examples=often(40), suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(LINES, LINES, LINES)
def test_a_merge_takes_a_side_that_alone_has_changed_and_never_leaves_marks(base, mine, new):
    base, mine, new = (b"".join(lines) for lines in (base, mine, new))
    assert merge(base, base, new).content == new
    assert merge(base, mine, base).content == mine
    both = merge(base, mine, new)
    assert both.conflicts or b"<" * merging.MARK not in both.content
    assert bool(both.conflicts) == bool(merge(base, new, mine).conflicts)


ELASTIC = '[sinks.s]\nkind = "elasticsearch"\nto = "https://e"\nstream = "logs-%s"\n'


def rendered(folder, text, **options):
    config = parse(text)
    files = TARGETS["elasticsearch"].render(Given(config, folder, folder, options)).files
    write(folder, "elasticsearch", files, options)
    return config


def judged(config, folder):
    return {one.file: one.how for one in checking.judge(config, folder, folder)}


def test_files_are_judged_against_what_was_rendered_and_against_the_project(tmp_path):
    config = rendered(tmp_path, TOML + ELASTIC % "a")
    assert set(judged(config, tmp_path).values()) == {"unchanged"}
    (tmp_path / "README.md").write_text("mine\n")
    (tmp_path / "api-key.json").unlink()
    assert judged(config, tmp_path) == {
        "README.md": "edited",
        "api-key.json": "missing",
        "casemate-logs-a.json": "unchanged",
    }
    moved = parse(TOML + ELASTIC % "b")
    (tmp_path / "casemate-logs-b.json").write_text("somebody's")
    assert judged(moved, tmp_path) == {
        "README.md": "stale",
        "api-key.json": "missing",
        "casemate-logs-a.json": "stale",
        "casemate-logs-b.json": "foreign",
    }
    (held,) = checking.held(tmp_path)
    assert (held.edited, held.missing, held.files) == (["README.md"], ["api-key.json"], 3)
    with pytest.raises(ConfigError, match="nothing was rendered into"):
        checking.judge(config, tmp_path, tmp_path / "elsewhere")


def test_folders_are_found_below_the_project_but_not_through_links_or_in_hidden_ones(tmp_path):
    for name in ("a", "a/b/c/d", "a/b/c/d/e", ".hidden", "node_modules/x"):
        rendered(tmp_path / name, TOML)
    os.symlink(tmp_path / "a", tmp_path / "again")
    found = [str(one.relative_to(tmp_path)) for one in checking.rendered_folders(tmp_path)]
    assert found == ["a", "a/b/c/d"]
