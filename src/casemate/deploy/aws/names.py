"""What everything of one project is called in an account."""

import re
from dataclasses import dataclass

from casemate.config import Config
from casemate.config.aws import AwsTable
from casemate.core.digest import sha256
from casemate.core.errors import ConfigError

DIGITS = 12
"""Of a bundle's digest in names."""


def named(text: str, most: int) -> str:
    """A text as names of SageMaker and of roles have it: letters, digits and hyphens, at most
    `most`. What had to be changed gets the beginning of its digest, since names that differ only in
    case or in a sign are one name there.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if plain and plain == text and len(plain) <= most:
        return plain
    return f"{plain[: most - 9].strip('-') or 'x'}-{sha256(text.encode())[:8]}"


@dataclass(frozen=True)
class Names:
    """Of one project and stage."""

    table: AwsTable
    project: str
    """As the configuration has it."""
    stage: str

    @property
    def prefix(self) -> str:
        """What every name begins with: at most 37 signs."""
        return f"casemate-{named(self.project, 28)}"

    @property
    def endpoint(self) -> str:
        """The endpoint of the stage."""
        return f"{self.prefix}-{named(self.stage, 20)}"

    def model(self, version: int, digest: str) -> str:
        """A model, and the configuration of an endpoint that has it: another signature is another
        name, so nothing is changed under one.
        """
        return f"{self.prefix}-{version}-{digest[:DIGITS]}"

    def role(self, principal: str) -> str:
        """The ARN of a principal's role."""
        place = f"role{self.table.path}{self.prefix}-{principal}"
        return f"arn:{self.table.partition}:iam::{self.table.account}:{place}"

    def prefix_of(self, folder: str) -> str:
        """Where in the bucket something is."""
        return f"s3://{self.table.bucket}/{folder}/"


def names_of(config: Config) -> Names:
    """Names for a project.

    Raises:
        ConfigError: `[deploy.aws]` is not there.
    """
    if config.deploy.aws is None:
        raise ConfigError(
            "casemate.toml has no [deploy.aws]",
            hint="account, region, bucket, audit_bucket, subnets, security_groups, deployers,"
            " auditors: docs/how-to/deploy-sagemaker.md",
        )
    return Names(config.deploy.aws, config.project.name, config.serve.stage)
