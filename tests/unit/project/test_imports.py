"""What a command waits for: lists are shown without the libraries that read tables, train
or draw.
"""

import subprocess
import sys

import pytest

HEAVY = {
    "alembic", "cleanlab", "cyclonedx", "fsspec", "httptools", "jinja2", "matplotlib", "numpy",
    "onnx", "onnxruntime", "optuna", "pandas", "pint", "prometheus_client", "pyarrow", "scipy",
    "skl2onnx", "sklearn", "skops", "tomlkit", "torch", "uvicorn", "webauthn",
}  # fmt: skip
SCRIPT = """
import gc, sys
{code}
assert gc.isenabled()
print(*sorted({{name.partition(".")[0] for name in sys.modules}}), file=sys.stderr)
"""


def loaded(code: str, *words: object) -> set[str]:
    """The top-level modules that are there after `code`."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(code=code), *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "words",
    [
        ("runs",),
        ("keys", "list"),
        ("audit", "show"),
        ("model", "list"),
        ("access", "list"),
        ("outbox", "list"),
        ("--version",),
    ],
)
def test_what_only_lists_imports_nothing_that_reads_tables_trains_or_draws(clinic, words):
    code = (
        "from casemate.cli import main\ntry:\n    assert main(sys.argv[1:]) == 0\nexcept SystemExit"
        " as end:\n    assert not end.code"
    )
    assert (
        loaded(code, *words, *([] if words == ("--version",) else ["--config", clinic])) & HEAVY
        == set()
    )


def test_an_opened_project_has_imported_nothing_that_reads_tables_trains_or_draws(clinic):
    assert (
        loaded(
            "import casemate; project = casemate.open(sys.argv[1]); print(project, project.models,"
            " project.config.project)",
            clinic,
        )
        & HEAVY
        == set()
    )


def test_the_package_by_itself_imports_no_library_at_all():
    assert loaded("import casemate; casemate.__version__") - sys.stdlib_module_names - {
        "casemate",
        "__main__",
    } <= loaded("pass")


FROZEN = """
import gc
from casemate.core.imports import uncollected
{before}
with uncollected():
    made = [[] for _ in range(1000)]
print(gc.get_freeze_count() > 0)
gc.get_freeze_count = None  # it looks at each object: hundreds of times in a process of millions
with uncollected(for_good=True):
    pass
with uncollected():
    pass
"""


@pytest.mark.parametrize(("before", "stays"), [("", False), ("gc.freeze()", True)])
def test_what_a_caller_froze_stays_frozen_and_is_not_counted_time_and_again(before, stays):
    code = FROZEN.format(before=before)
    if not stays:
        code = code.replace("gc.get_freeze_count = None", "")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{stays}\n", "")


GARBAGE = """
import gc, weakref
from casemate.core.imports import uncollected
{before}
class Held:
    pass
for for_good in (False, {for_good}, False):
    held = Held()
    held.itself, told = held, weakref.ref(held)
    del held
    with uncollected(for_good=for_good):
        pass
    gc.collect()
    print(told() is None)
"""


@pytest.mark.parametrize(
    "before",
    ["", "gc.freeze()", "with uncollected(for_good=True): pass"],
    ids=["nothing is frozen", "a caller froze", "it was frozen for good"],
)
def test_garbage_of_a_process_that_goes_on_is_collected_whatever_is_frozen(before):
    code = GARBAGE.format(before=before, for_good=bool(before))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("True\n" * 3, "")
