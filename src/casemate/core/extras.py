"""Which extra of the package brings which module: `casemate verify` needs none, every other verb
one or two.

The names stand in pyproject.toml; a test compares both lists with what the code imports.
"""

from casemate.core.errors import ConfigError

EXTRAS = {
    "pipeline": [
        "OpenSSL",
        "alembic",
        "cedarpy",
        "cleanlab",
        "cyclonedx",
        "defusedxml",
        "google",
        "jinja2",
        "joserfc",
        "license_expression",
        "numpy",
        "onnx",
        "onnxruntime",
        "optuna",
        "packageurl",
        "packaging",
        "pandas",
        "pint",
        "pyarrow",
        "pysqlite3",
        "rich",
        "scipy",
        "shtab",
        "skl2onnx",
        "sklearn",
        "skops",
        "sqlalchemy",
        "threadpoolctl",
        "tomlkit",
        "webauthn",
        "yaml",
    ],
    "serve": ["httptools", "prometheus_client", "uvicorn", "uvloop"],
    "plots": ["matplotlib"],
}
"""Extra -> the modules that are imported from it. Smaller extras are asked for where they
are used.
"""


def needed(what: str, error: ModuleNotFoundError) -> ConfigError:
    """The fault to raise for a module that no installed extra brings.

    Args:
        what: what was wanted, as it follows on nothing: `casemate run`.
        error: as Python raised it.

    Raises:
        ModuleNotFoundError: `error` itself, when no extra brings the module: then nobody's
            installation is to blame.
    """
    module = (error.name or "").partition(".")[0]
    extra = next((name for name, modules in EXTRAS.items() if module in modules), None)
    if extra is None:
        raise error
    command = f"pip install 'casemate[{extra}]'"
    return ConfigError(
        f"{what} needs casemate[{extra}]: {command}", hint=f"this Python has no module {module!r}"
    )
