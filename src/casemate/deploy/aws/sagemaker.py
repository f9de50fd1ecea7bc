"""`casemate deploy sagemaker`: requests to SageMaker, as `aws … --cli-input-yaml` and boto3 take
them, and the container that they name.
"""

from pathlib import Path

import msgspec

from casemate.config import Config
from casemate.config.container import SETTING, ContainerTable
from casemate.core.errors import ConfigError
from casemate.deploy.aws import model as models
from casemate.deploy.aws.names import Names, names_of
from casemate.deploy.interface import Given, Rendering
from casemate.deploy.templates import environment

MOST_VALUE = 1024
"""Characters of a variable of a container, as SageMaker takes it."""
VARIANT = "casemate"
TYPES = ["application/json", "application/jsonlines", "text/csv"]
ALWAYS = (
    "training-job.yaml",
    "model-package-group.yaml",
    "errors-alarm.yaml",
    "latency-alarm.yaml",
)
OF_MODEL = ("model-package.yaml",)
OF_APPROVED = ("model.yaml", "endpoint-config.yaml", "endpoint.yaml")


def render(given: Given) -> Rendering:
    """Requests and container.

    Raises:
        ConfigError: `[deploy.aws]` lacks what they need. VerificationError, RefusedError: of the
            model, see `model.chosen`.
    """
    config, names = given.config, names_of(given.config)
    trusted = given.root / config.deploy.trusted
    where = given.options.get("model")
    model = None if where is None else models.chosen(config, given.root / where, _keys(trusted))
    values = _values(config, names, model)
    wanted = ["Dockerfile", "README.md"]
    if names.table.image is not None and names.table.key is not None:
        wanted += ALWAYS
        wanted += OF_MODEL if model is not None else ()
        wanted += OF_APPROVED if model is not None and model.status == "Approved" else ()
    jinja = environment("casemate.deploy.aws")
    files = {
        name: jinja.get_template(f"{name}.jinja").render(files=wanted, **values).encode()
        for name in wanted
    }
    keys = models.public_keys(trusted)
    files |= {f"keys/{name}": content for name, content in keys.items()}
    said = "" if model is None else f"{model.reference} sha256:{model.digest}"
    return Rendering(files, model=said, notes=_notes(names, trusted, keys, model, wanted))


def _keys(trusted: Path) -> Path:
    if not trusted.is_dir():
        raise ConfigError(
            f"there is no folder {trusted} with public keys that you trust",
            hint="copy the owner's `.casemate/public` there, or name it in [deploy] trusted",
        )
    return trusted


def _values(config: Config, names: Names, model: models.Chosen | None) -> dict[str, object]:
    table, serve = names.table, config.serve
    canary = table.instances > 1
    values: dict[str, object] = {
        "names": names,
        "table": table,
        "project": config.project.name,
        "stage": serve.stage,
        "variant": VARIANT,
        "setting": SETTING,
        "types": TYPES,
        "model": model,
        "canary": canary,
        "bake": table.bake_minutes * 60,
        "errors": serve.canary.errors,
        # CloudWatch has ModelLatency in microseconds
        "latency": round(serve.deadline * 1e6),
    }
    if model is not None:
        values["contained"] = _contained(config, model)
        values["model_name"] = names.model(model.version, model.digest)
        values["model_data"] = names.prefix_of(f"models/{model.digest}")
    return values


def _contained(config: Config, model: models.Chosen) -> str:
    """What the container is told; ConfigError if it could not serve so."""
    serve = config.serve
    if serve.outputs.show == "aggregate":
        raise ConfigError(
            '[serve.outputs] show = "aggregate" needs the ledger of a project, and a container has'
            " none",
            hint='"label" tells least without one',
        )
    told = ContainerTable(
        bundle=model.digest,
        stage=serve.stage,
        approvals=max(1, config.release.approvals),
        missing=config.data.null_values,
        guard=serve.guard,
        outputs=serve.outputs,
        extra=serve.extra,
        max_rows=serve.max_rows,
        max_body_mb=serve.max_body_mb,
        deadline=serve.deadline,
    )
    text = msgspec.json.encode(told).decode()
    if len(text) > MOST_VALUE:
        raise ConfigError(
            f"a container cannot be told so much: {len(text)} of {MOST_VALUE} characters",
            hint="shorten [data] null_values",
        )
    return text


def _notes(
    names: Names,
    trusted: Path,
    keys: dict[str, bytes],
    model: models.Chosen | None,
    wanted: list[str],
) -> tuple[str, ...]:
    notes = []
    if not keys:
        notes.append(f"put public keys that you trust into {trusted}: the container needs them")
    if "training-job.yaml" not in wanted:
        missing = [name for name in ("image", "key") if getattr(names.table, name) is None]
        needs = " and ".join(missing)
        notes.append(f"only the container: [deploy.aws] has no {needs}")
    if model is None:
        notes.append("no endpoint: --model FOLDER names an exported model")
    elif model.status != "Approved":
        notes.append(f"no endpoint: {model.reference} is {model.status}, {model.why}")
    return tuple(notes)
