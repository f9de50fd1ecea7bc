"""`[deploy.aws]`: what files for AWS must know of your account."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import Table

Person = Annotated[
    str,
    Meta(pattern=r"^arn:aws[a-z-]{0,20}:iam::\d{12}:(role|user)/[A-Za-z0-9+=,.@_/-]{1,512}$(?!\n)"),
]
Bucket = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$(?!\n)")]
"""Without dots: TLS to a bucket's own name would not fit Amazon's certificate."""
Instance = Annotated[str, Meta(pattern=r"^ml\.[a-z0-9-]{1,20}\.[a-z0-9]{1,20}$(?!\n)")]


class AwsTable(Table, frozen=True, kw_only=True):
    """What `casemate deploy iam` and `casemate deploy sagemaker` render: one account, one region,
    four principals and what each may do.
    """

    account: Annotated[str, Meta(description="Number of the account.", pattern=r"^\d{12}$(?!\n)")]
    region: Annotated[
        str,
        Meta(
            description="Where everything is, such as `eu-central-1`.",
            pattern=r"^[a-z]{2}(-[a-z]{2,12}){1,3}-\d{1,2}$(?!\n)",
        ),
    ]
    bucket: Annotated[
        Bucket, Meta(description="Bucket of models, projects, results and what is captured.")
    ]
    audit_bucket: Annotated[
        Bucket,
        Meta(
            description=(
                "Bucket under Object Lock for what `[audit] copies` copies; `[audit] retain_days`"
                " says how long."
            )
        ),
    ]
    subnets: Annotated[
        list[Annotated[str, Meta(pattern=r"^subnet-[0-9a-f]{8,17}$(?!\n)")]],
        Meta(description="Private subnets of containers.", min_length=1, max_length=16),
    ]
    security_groups: Annotated[
        list[Annotated[str, Meta(pattern=r"^sg-[0-9a-f]{8,17}$(?!\n)")]],
        Meta(description="Of containers.", min_length=1, max_length=5),
    ]
    deployers: Annotated[
        list[Person],
        Meta(
            description="ARNs of roles and users that may become the deployer.",
            min_length=1,
            max_length=20,
        ),
    ]
    auditors: Annotated[
        list[Person],
        Meta(
            description="ARNs of roles and users that may become the auditor; none is a deployer.",
            min_length=1,
            max_length=20,
        ),
    ]
    repository: Annotated[
        str,
        Meta(
            description="ECR repository of the container, in the same account and region.",
            pattern=r"^[a-z0-9]+([._/-][a-z0-9]+){0,20}$(?!\n)",
            max_length=100,
        ),
    ] = "casemate"
    image: Annotated[
        Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$(?!\n)")] | None,
        Meta(description="Digest of the container in it; none until it was pushed."),
    ] = None
    key: Annotated[
        Annotated[
            str,
            Meta(pattern=r"^(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$(?!\n)"),
        ]
        | None,
        Meta(
            description="Id of the KMS key that `deploy iam` made; none until the stack is there."
        ),
    ] = None
    path: Annotated[
        str,
        Meta(
            description="Path of the roles.",
            pattern=r"^/([A-Za-z0-9+=,.@_-]{1,64}/){0,5}$(?!\n)",
        ),
    ] = "/casemate/"
    instance: Annotated[Instance, Meta(description="Type of an endpoint's machines.")] = (
        "ml.m5.large"
    )
    instances: Annotated[
        int,
        Meta(
            description=("Machines of an endpoint; with one there is no canary, only all at once."),
            ge=1,
            le=100,
        ),
    ] = 2
    training_instance: Annotated[Instance, Meta(description="Type of the training machine.")] = (
        "ml.m5.xlarge"
    )
    training_minutes: Annotated[
        int, Meta(description="After which training is ended.", ge=1, le=7200)
    ] = 120
    volume_gb: Annotated[
        int, Meta(description="Disk of the training machine, in GB.", ge=1, le=16384)
    ] = 30
    capture_percent: Annotated[
        int,
        Meta(
            description="Percent of requests that are captured, rows and answers, under the key.",
            ge=0,
            le=100,
        ),
    ] = 100
    bake_minutes: Annotated[
        int,
        Meta(
            description="How long a canary is watched, and the old fleet is kept after it.",
            ge=1,
            le=60,
        ),
    ] = 10

    @property
    def partition(self) -> str:
        """`aws`, or that of China or of the United States' government."""
        beginnings = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
        return next(
            (name for begin, name in beginnings.items() if self.region.startswith(begin)), "aws"
        )

    @property
    def suffix(self) -> str:
        """Of the domain of its services."""
        return "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"

    def arn(self, service: str, resource: str) -> str:
        """Of something in this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    @property
    def key_arn(self) -> str | None:
        """Of the key, if it is there."""
        return None if self.key is None else self.arn("kms", f"key/{self.key}")

    @property
    def image_uri(self) -> str | None:
        """Of the container by its digest, if it was pushed."""
        registry = f"{self.account}.dkr.ecr.{self.region}.{self.suffix}"
        return None if self.image is None else f"{registry}/{self.repository}@{self.image}"


def impossible_aws(table: AwsTable | None) -> list[str]:
    """What of `[deploy.aws]` does not go together."""
    if table is None:
        return []
    own = f"arn:{table.partition}:iam::{table.account}:"
    problems = [
        f"[deploy.aws] {kind}: {one} is not of account {table.account} in {table.partition}"
        for kind in ("deployers", "auditors")
        for one in getattr(table, kind)
        if not one.startswith(own)
    ]
    problems += [
        f"[deploy.aws] auditors: {one} is a deployer too, and would audit themselves"
        for one in sorted({*table.auditors} & {*table.deployers})
    ]
    if table.bucket == table.audit_bucket:
        problems.append("[deploy.aws] audit_bucket: take another one than bucket")
    return problems
