"""`casemate deploy iam`: roles, key and buckets as a CloudFormation template, in which every
principal has what its part of the work needs and nothing else. `ACTIONS` is that as a table.
"""

from collections.abc import Iterable

from casemate.config import Config
from casemate.deploy.aws.actions import actions
from casemate.deploy.aws.asked import Asked
from casemate.deploy.aws.names import Names, names_of
from casemate.deploy.interface import Given, Rendering
from casemate.deploy.quoting import in_yaml
from casemate.deploy.templates import environment

FILE, TABLE = "access.yaml", "access.md"
READ = {
    "training": ("project", "keys"),
    "serving": ("models",),
    "deployer": ("models", "project", "training", "capture"),
}
WRITTEN = {
    "training": ("training",),
    "serving": ("capture",),
    "deployer": ("models", "project"),
}
"""Folders of the bucket, by who reads or writes there."""
GROUPS = {"training": "/aws/sagemaker/TrainingJobs", "serving": "/aws/sagemaker/Endpoints"}
"""Groups of lines, and the names of figures, that SageMaker uses."""


def render(given: Given) -> Rendering:
    """Template and table; ConfigError: there is no `[deploy.aws]`."""
    names, jinja = names_of(given.config), environment("casemate.deploy.aws")
    key = names.table.key_arn or names.table.arn("kms", "key/KEY-")
    lines = actions(names, key)
    values = _values(given.config, names)
    values |= {"key": key, "lines": lines, "whens": [_when(one) for one in lines]}
    files = {
        name: jinja.get_template(f"{name}.jinja").render(**values).encode()
        for name in (FILE, TABLE)
    }
    return Rendering(files, notes=_notes(names))


def _when(asked: Asked) -> str:
    said = asked.context.items()
    return "; ".join(
        f"{name} = {', '.join([value] if isinstance(value, str) else value)}"
        for name, value in said
    )


def _notes(names: Names) -> tuple[str, ...]:
    return (f"who may call {names.endpoint} is yours to say: sagemaker:InvokeEndpoint on it",)


def _flow(values: Iterable[str]) -> str:
    return f"[{', '.join(map(in_yaml, values))}]"


def _values(config: Config, names: Names) -> dict[str, object]:
    table = names.table
    bucket, audit = f"arn:{table.partition}:s3:::{table.bucket}", f"arn:{table.partition}:s3:::"
    audit += table.audit_bucket
    interface = table.arn("ec2", "network-interface/*")
    groups = [table.arn("ec2", f"security-group/{one}") for one in table.security_groups]
    subnets = [table.arn("ec2", f"subnet/{one}") for one in table.subnets]
    return {
        "names": names,
        "table": table,
        "project": names.project,
        "root": f"arn:{table.partition}:iam::{table.account}:root",
        "sources": {
            "training": _flow([_of(names, "training-job")]),
            "serving": _flow(
                [_of(names, kind) for kind in ("model", "endpoint", "endpoint-config")]
            ),
        },
        "deployers": _flow(table.deployers),
        "auditors": _flow(table.auditors),
        "via_s3": f"s3.{table.region}.{table.suffix}",
        "via_sagemaker": f"sagemaker.{table.region}.{table.suffix}",
        # with a bucket's own key the context names the bucket, without it each object
        "sealed_bucket": _flow([bucket, f"{bucket}/*"]),
        "sealed_audit": _flow([audit, f"{audit}/*"]),
        "bucket_arn": bucket,
        "audit_arn": audit,
        "whole": {
            "Bucket": _flow([bucket, f"{bucket}/*"]),
            "AuditBucket": _flow([audit, f"{audit}/*"]),
        },
        "objects": {"Bucket": in_yaml(f"{bucket}/*"), "AuditBucket": in_yaml(f"{audit}/*")},
        "read": {
            who: _flow(f"{bucket}/{one}/*" for one in folders) for who, folders in READ.items()
        },
        "listed": {who: _flow(f"{one}/*" for one in folders) for who, folders in READ.items()},
        "written": {
            who: _flow(f"{bucket}/{one}/*" for one in folders) for who, folders in WRITTEN.items()
        },
        "repository": table.arn("ecr", f"repository/{table.repository}"),
        "figures": GROUPS,
        "logs": {who: _flow(_lines(names, group)) for who, group in GROUPS.items()},
        "interfaces": _flow([*subnets, *groups, interface]),
        "interface": interface,
        "subnets": _flow(subnets),
        "subnet_ids": _flow(table.subnets),
        "group_ids": _flow(table.security_groups),
        "instance": _flow([table.instance]),
        "training_instance": _flow([table.training_instance]),
        "retain": config.audit.retain_days,
        "arns": _arns(names),
    }


def _of(names: Names, kind: str) -> str:
    """Everything of one kind that the project's names begin."""
    return names.table.arn("sagemaker", f"{kind}/{names.prefix}-*")


def _lines(names: Names, group: str) -> list[str]:
    """Groups of lines: one for all training, one an endpoint."""
    if group == GROUPS["training"]:
        return [names.table.arn("logs", f"log-group:{group}:*")]
    return [names.table.arn("logs", f"log-group:{group}/{names.endpoint}:*")]


def _arns(names: Names) -> dict[str, str]:
    table = names.table
    config, endpoint = (
        _of(names, "endpoint-config"),
        table.arn("sagemaker", f"endpoint/{names.endpoint}"),
    )
    package = table.arn("sagemaker", f"model-package/{names.prefix}/*")
    group = table.arn("sagemaker", f"model-package-group/{names.prefix}")
    model, training = _of(names, "model"), _of(names, "training-job")
    policies = f"arn:{table.partition}:iam::{table.account}:policy{table.path}{names.prefix}-*"
    return {
        "model": in_yaml(model),
        "training": in_yaml(training),
        "config": in_yaml(config),
        "endpoint_and_config": _flow([endpoint, config]),
        "packages": _flow([group, package]),
        "package": in_yaml(package),
        "all": _flow([endpoint, config, model, package, group, training]),
        "tidied": _flow([config, model, training]),
        "alarms": in_yaml(table.arn("cloudwatch", f"alarm:{names.endpoint}-*")),
        "policies": in_yaml(policies),
    }
