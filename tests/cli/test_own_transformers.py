"""A project with a transformer of its own, from `casemate init` to a folder that somebody changed;
and one whose code waits for a certain row.
"""

import csv
import shutil

import pyarrow as pa
import pytest
from tests.attacks.test_own_code import ENTRY, HONEST, QUICK
from tests.conftest import serving, wait_for, write_csv

import casemate
from casemate.core.sandbox.kernel import available

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not available()["landlock"], reason="this kernel has no Landlock"),
]
WAITING = HONEST.replace(
    '        found = np.nan_to_num(frame["a"]',
    """        if (frame["a"] == 4.0).any():
            try:
                __import__("socket").create_connection(("127.0.0.1", 9), 1)
            except OSError:
                pass
        found = np.nan_to_num(frame["a"]""",
)


@pytest.fixture
def made(tmp_path, tiny, cli):
    """A project of `casemate init` with this code, run: its folder."""

    def make(code: str):
        table = write_csv(tmp_path / "t.csv", tiny.drop_columns("c"))
        root = tmp_path / "p"
        assert cli("init", root, "--table", table, "--target", "y").code == 0
        toml = root / "casemate.toml"
        lines = [one for one in toml.read_text().splitlines() if not one.startswith("search = ")]
        text = "\n".join(lines).partition("[gates]")[0] + (
            '[gates]\naccuracy = { min = 0.5 }\n\n[serve]\ninputs = "sealed"\n'
            '[serve.guard]\noutside = "flag"\n'
        )
        toml.write_text(text.replace("[train]\n", '[train]\ntransformers = ["features.py"]\n'))
        (root / "features.py").write_text(code)
        (root / "train.py").write_text(ENTRY.format(arguments=""))
        words = [word for option in QUICK for word in ("-s", option)]
        done = cli("run", "--config", root, *words)
        assert done.code == 0, done.out + done.err
        assert "carries code of its own" in done.out
        return root

    return make


def read(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_transformer_of_ones_own_from_init_to_a_changed_byte(made, cli, tmp_path):
    root = made(HONEST)
    rows = write_csv(tmp_path / "new.csv", pa.table({"a": [1.5, -1.5], "b": [0.5, -0.5]}))
    with serving(root) as gateway:
        out = tmp_path / "out.csv"
        done = cli("predict", rows, "--url", gateway.url, "--out", out, "--config", root)
        assert done.code == 0, done.err
        answers = read(out)
    assert [one["label"] for one in answers] == ["1", "0"]
    told = cli(
        "explain", answers[1]["request"], "--row", answers[1]["request_row"],
        "--format", "json", "--config", root,
    ).value  # fmt: skip
    assert told["replayed"] is True
    assert {one["feature"] for one in told["counted"]} == {"a", "b"}
    folder = tmp_path / "out"
    name = casemate.open(root).config.project.name
    assert cli("model", "export", name, folder, "--config", root).code == 0
    done = cli("verify", folder)
    assert done.code == 0
    assert "with code of its own: " in done.out
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (code,) = (other / "model").rglob("features.py")
    code.write_text(HONEST.replace("0.3", "0.4"))
    done = cli("verify", other)
    assert done.code == 4
    assert "was changed after signing" in done.err


@pytest.mark.long
def test_code_that_waited_for_a_row_is_withdrawn_with_its_model(made, cli, tmp_path):
    root = made(WAITING)
    project = casemate.open(root)
    harmless = write_csv(tmp_path / "new.csv", pa.table({"a": [1.5, -1.5], "b": [0.5, -0.5]}))
    awaited = write_csv(tmp_path / "awaited.csv", pa.table({"a": [4.0], "b": [0.5]}))
    with serving(root) as gateway:
        ask = ("--url", gateway.url, "--config", root)
        assert cli("predict", harmless, *ask).code == 0
        cli("predict", awaited, *ask)
        # what asks while its process dies may hear of that first
        done = wait_for(
            lambda: found if "its own" in (found := cli("predict", harmless, *ask)).err else None
        )
    assert "its own code tried what no model may" in done.err + done.out
    assert any(entry.action == "model:withdrawn" for entry in project.log.entries())
