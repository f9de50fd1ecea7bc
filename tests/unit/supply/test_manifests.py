"""What is declared is looked at by its version, in the lock beside it, as installed, or not at all."""

from importlib import metadata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.supply.test_advisories import LEAKY, answer

from casemate.core import installed
from casemate.supply.scanners import manifests
from casemate.supply.scanners.manifests import names_packages
from casemate.supply.scanners.packages import Packages

HERE = metadata.version("msgspec")
"""Of a package that is installed wherever casemate is."""


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Two packages are installed."""
    some = [metadata.distribution(name) for name in ("msgspec", "pytest")]
    monkeypatch.setattr(installed.metadata, "distributions", lambda: some)


def hits(found):
    return sorted((hit.rule.partition(".")[2], hit.package, hit.path) for hit in found.hits)


PINNED = {
    "pyproject__toml": '[project]\ndependencies = ["leaky==1.0"]',
    "setup__cfg": "[options]\ninstall_requires =\n    leaky==1.0\n",
    "Pipfile": '[packages]\nleaky = "==1.0"',
    "Pipfile__lock": '{"default": {"leaky": {"version": "==1.0"}}}',
    "environment__yml": "dependencies:\n- python=3.11\n- pip:\n  - leaky==1.0\n",
    "conda-lock__yml": "package:\n- {name: leaky, version: '1.0', manager: pip}\n",
}


@pytest.mark.parametrize("name", PINNED)
def test_a_version_that_is_declared_is_looked_at_whatever_the_file(name, tmp_path):
    found = answer(tmp_path, [LEAKY], **{name: PINNED[name]})
    assert hits(found) == [("vulnerable", "leaky", name.replace("__", "."))]
    assert found.unseen == {}


POETRY = '[tool.poetry.dependencies]\npython = "^3.11"\nleaky = "{}"'


@pytest.mark.parametrize(("text", "is_exact"), [("1.0", True), ("==1.0", True), ("^1.0", False)])
def test_a_version_of_poetry_is_exact_where_poetry_takes_it_so(text, is_exact, tmp_path):
    found = answer(tmp_path, [LEAKY], pyproject__toml=POETRY.format(text))
    assert bool(found.unseen) != is_exact
    assert [rule for rule, _, _ in hits(found)] == ["vulnerable" if is_exact else "unpinned"]


LOOSE = {
    "pyproject__toml": '[project]\ndependencies = ["absent>=1"]',
    "setup__cfg": "[options]\ninstall_requires = absent>=1\n",
    "Pipfile": '[packages]\nabsent = "*"',
}


@pytest.mark.parametrize("name", LOOSE)
def test_what_has_no_version_anywhere_was_not_looked_at(name, tmp_path):
    found = answer(tmp_path, [LEAKY], **{name: LOOSE[name]})
    path = name.replace("__", ".")
    assert "no lock beside it does" in found.unseen[f"{path}: absent"]
    assert found.answer == "could-not-look"


@pytest.mark.parametrize("name", LOOSE)
@pytest.mark.parametrize(
    "lock",
    [
        {"uv__lock": '[[package]]\nname = "absent"\nversion = "1.2"\n'},
        {"Pipfile__lock": '{"default": {"absent": {"version": "==1.2"}}}'},
        {"requirements__txt": "absent==1.2\n"},
    ],
)
def test_what_a_lock_beside_it_has_is_looked_at_there(name, lock, tmp_path):
    found = answer(tmp_path, [LEAKY], **{name: LOOSE[name]}, **lock)
    assert (found.unseen, found.hits) == ({}, [])


def test_a_lock_of_another_folder_locks_nothing_here(tmp_path):
    lock = '[[package]]\nname = "absent"\nversion = "1.2"\n'
    files = {"other/uv__lock": lock, "own/pyproject__toml": LOOSE["pyproject__toml"]}
    for folder in ("own", "other"):
        (tmp_path / "tree" / folder).mkdir(parents=True)
    assert set(answer(tmp_path, [LEAKY], **files).unseen) == {"own/pyproject.toml: absent"}
    assert answer(tmp_path, [LEAKY], **files, uv__lock=lock).unseen == {}


@pytest.mark.parametrize(
    ("text", "is_seen"),
    [
        ("msgspec>=0.1", True),
        ("Msgspec", True),
        ("msgspec>=9999", False),
        ("msgspec~=0.0.1", False),
    ],
)
def test_what_is_installed_as_it_is_wanted_is_looked_at_as_installed(text, is_seen, tmp_path):
    found = answer(tmp_path, [LEAKY], pyproject__toml=f'[project]\ndependencies = ["{text}"]')
    assert bool(found.unseen) != is_seen
    assert [rule for rule, _, _ in hits(found)] == ["unpinned"]


OPTIONAL = """
[build-system]
requires = ["absent-builder"]
[project.optional-dependencies]
dev = ["absent-dev>=2", "leaky==1.0"]
[dependency-groups]
test = ["absent-test", {include-group = "more"}]
more = ["absent-more"]
"""


def test_what_only_an_extra_or_a_group_wants_is_said_where_nobody_has_it(tmp_path):
    found = answer(tmp_path, [LEAKY], pyproject__toml=OPTIONAL)
    assert found.unseen == {}
    assert hits(found) == [("vulnerable", "leaky", "pyproject.toml")]
    named = "\n".join(found.notes)
    assert all(f"absent-{one}" in named for one in ("builder", "dev", "test", "more"))


@pytest.mark.parametrize(
    ("name", "text", "unseen"),
    [
        ("pyproject__toml", '[project]\ndynamic = ["dependencies"]', "dependencies"),
        ("pyproject__toml", '[project]\ndependencies = ["a @ https://x.org/a.whl"]', "a"),
        ("pyproject__toml", '[project]\ndependencies = ["no requirement!"]', "no requirement!"),
        ("pyproject__toml", '[tool.poetry.dependencies]\na = {git = "https://x.org/a"}', "a"),
        ("pyproject__toml", '[dependency-groups]\na = [{include-group = "b"}]', ""),
        ("pyproject__toml", '[dependency-groups]\na = [{include-group = "a"}]', ""),
        ("pyproject__toml", "[project]\ndependencies = 3", ""),
        ("pyproject__toml", "project = 3", ""),
        ("pyproject__toml", "[[", ""),
        ("setup__cfg", "install_requires = 3", ""),
        ("setup__cfg", "[options]\ninstall_requires = file: a.txt", "file: a.txt"),
        ("setup__py", "setup(install_requires=read())", ""),
        ("Pipfile", '[packages]\na = {git = "https://x.org/a"}', "a"),
        ("Pipfile__lock", '{"default": {"a": {"git": "https://x.org/a"}}}', "a"),
        ("Pipfile__lock", '{"default": [1]}', ""),
        ("Pipfile__lock", "[" * 100_000, ""),
        ("Pipfile__lock", "[]", ""),
        ("pyproject__toml", "[tool.poetry.group]\na = 3", ""),
        ("environment__yml", "- 1", ""),
        ("environment__yml", "a: [", ""),
        ("environment__yml", "dependencies: [3]", "3"),
        ("environment__yml", "a: &a [x]\nb: *a", ""),
        ("environment__yml", "[" * 5000, ""),
        ("environment__yml", "dependencies: 3", ""),
        ("environment__yml", "dependencies:\n- pip: leaky==1.0", ""),
        ("conda-lock__yml", "package: [1]", ""),
        ("conda-lock__yml", "package: {a: 1}", ""),
        ("conda-linux-64__lock", "@EXPLICIT\nhttps://x.org/y\n", "https://x.org/y"),
        ("pixi__lock", "version: 6", ""),
    ],
)
def test_what_cannot_be_read_or_has_no_version_was_not_looked_at(name, text, unseen, tmp_path):
    found = answer(tmp_path, [LEAKY], **{name: text})
    path = name.replace("__", ".")
    assert set(found.unseen) == {f"{path}: {unseen}" if unseen else path}


def test_packages_of_conda_are_looked_at_as_installed_or_not_at_all(tmp_path):
    text = "dependencies: [python=3.11, pip, 'conda-forge::msgspec', openblas=0.3, msgspec=0.0.1]"
    found = answer(tmp_path, [LEAKY], environment__yml=text)
    assert set(found.unseen) == {"environment.yml"}
    assert found.unseen["environment.yml"].startswith("openblas=0.3, msgspec=0.0.1: of conda")
    address = f"https://x.org/linux-64/msgspec-{HERE}-py311_0.conda#0123"
    found = answer(tmp_path, [LEAKY], **{"conda-linux-64__lock": f"@EXPLICIT\n{address}\n"})
    assert found.unseen == {}


def test_a_file_that_an_environment_of_conda_names_is_looked_at(tmp_path):
    files = {
        "environment__yml": "dependencies: [{pip: ['-r deps.lst']}]",
        "deps__lst": "leaky==1.0",
    }
    assert hits(answer(tmp_path, [LEAKY], **files)) == [("vulnerable", "leaky", "deps.lst")]


def test_what_another_machine_needs_is_left_alone(tmp_path):
    text = "[project]\ndependencies = [\"absent ; sys_platform == 'win32'\"]"
    found = answer(tmp_path, [LEAKY], pyproject__toml=text)
    assert (found.unseen, found.hits) == ({}, [])


def test_a_large_environment_of_conda_is_not_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(manifests, "MOST_YAML", 10)
    found = answer(tmp_path, [LEAKY], environment__yml="dependencies: []")
    assert "larger than 10 bytes" in found.unseen["environment.yml"]


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("pyproject.toml", True),
        ("a/b/Pipfile.lock", True),
        ("conda.yaml", True),
        ("environment-gpu.yml", True),
        ("ci.environment.yml", True),
        ("requirements/dev.txt", True),
        ("poetry.lock", True),
        ("casemate.toml", False),
        ("docker-compose.yml", False),
        ("pyproject.toml.bak", False),
    ],
)
def test_names_of_files_that_name_packages(path, is_one):
    assert names_packages(path) == is_one


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in manifests.READERS])
@given(text=st.text(max_size=60))
def test_whatever_stands_in_a_file_is_read_or_refused_as_one_that_cannot_be(pattern, text):
    all_ = Packages()
    try:
        manifests._declare(dict(manifests.READERS)[pattern], [], all_, "x", text)
    except (ValueError, RecursionError) as error:
        assert str(error)
    assert all_.found == []
