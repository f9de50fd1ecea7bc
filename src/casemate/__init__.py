"""casemate: a secure-by-default, reliable machine-learning pipeline.

    import casemate

    # from a file, or a pandas, polars or Arrow table
    project = casemate.create("patients.csv", target="outcome", folder="study")
    project = casemate.open("study")      # a folder with a casemate.toml
    run = project.run()                   # data -> train -> assess -> release
    run.verdict.outcome                   # 'passed', 'refused' or 'inconclusive'
    run.model.verify()                    # both signatures and every digest, or VerificationError
    casemate.verify("handed-over")        # what somebody else signed, by keys that you have

Architecture, from top to bottom; a module imports only from below:
  cli/        faces: parse, ask an operation, print
  serve/      the prediction gateway
  verification  what outsiders check, without a project
  operations/ what can be asked for, a function per verb; each asks policy and records; its
              `Project` is what Python users hold: nouns
  wiring      what a project is built from: the only place where a back end is chosen
  pipeline    THE SPINE: the list of stages
  supply/     what it gives them: rows, processes, payment
  deploy/     files for other people's systems, and what brings them there
  watch/      judges of tables after the release: drift, performance without labels
  respond/    what alerts mean, which incident they belong to, whom it concerns; tickets
  stages/     what happens to the data, in order: data, train, assess, release
  controls/   what must hold at every step: keys < audit < access < privacy
  ml/         models, learners, attacks
  config/     casemate.toml
  core/       errors, vocabulary, files, store, outbox, lease, engine, sandbox

Everything heavy is imported where it is used, so that `import casemate` costs nothing. What it does
at once is to switch off what dependencies would send or write by themselves: before any of them is
imported.
"""

from typing import TYPE_CHECKING, Any

from casemate.core import quiet as _quiet  # noqa: F401 - first: see core/quiet.py

if TYPE_CHECKING:
    from casemate.core.errors import Error
    from casemate.operations.project import Project
    from casemate.operations.project import create_project as create
    from casemate.operations.project import open_project as open
    from casemate.verification import bill_of as bill
    from casemate.verification import verify_path as verify

__all__ = ["Error", "Project", "__version__", "bill", "create", "open", "verify"]
__version__ = "0.1.0"


_HOME = {
    "open": ("casemate.operations.project", "open_project"),
    "create": ("casemate.operations.project", "create_project"),
    "verify": ("casemate.verification", "verify_path"),
    "bill": ("casemate.verification", "bill_of"),
    "Project": ("casemate.operations.project", "Project"),
    "Error": ("casemate.core.errors", "Error"),
}
"""Public name -> where it is defined, and as what."""


def __getattr__(name: str) -> Any:
    """A public name, imported when it is first asked for.

    Raises:
        ImportError: the extra that it needs is not installed.
    """
    if name not in _HOME:
        raise AttributeError(f"module 'casemate' has no attribute {name!r}")
    import importlib

    from casemate.core.imports import uncollected

    module, attribute = _HOME[name]
    try:
        with uncollected():
            return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as error:
        from casemate.core.extras import needed

        raise ImportError(needed(f"casemate.{name}", error).message, name=error.name) from error
