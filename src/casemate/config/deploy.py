"""`[deploy]`: what files for build servers must know of yours."""

from typing import Annotated

import msgspec
from msgspec import Meta

from casemate.config.aws import AwsTable
from casemate.config.kubernetes import KServeTable, KubernetesTable
from casemate.config.table import Cron, Name, Table

Variable = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_]{0,99}$(?!\n)")]
STEERING = ("PATH", "HOME", "SHELL", "IFS", "ENV", "BASH_ENV", "TMPDIR", "USER")
STEERING_BEGINS = (
    "LD_",
    "PYTHON",
    "GIT_",
    "CI_",
    "GITHUB_",
    "GITLAB_",
    "RUNNER_",
    "JENKINS_",
    "BUILD_",
)
"""Variables by which somebody could run another program, or seem to be another job."""


class DeployTable(Table, frozen=True, kw_only=True):
    """What `casemate deploy gitlab`, `jenkins`, `github` and `kubeflow` render."""

    branch: Annotated[
        str,
        Meta(
            description="The branch whose commits are trained; what others propose never is.",
            pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$(?!\n)",
        ),
    ] = "main"
    runner: Annotated[
        list[Name],
        Meta(
            description=(
                "Tags or labels of the one machine that does it: its working copy holds"
                " `.casemate`, and its user the key store."
            ),
            min_length=1,
            max_length=10,
        ),
    ] = msgspec.field(default_factory=lambda: ["casemate"])
    environment: Annotated[
        Name | None,
        Meta(
            description=(
                "The build server's environment, which protects what is deployed; default:"
                " `[release] stage`."
            )
        ),
    ] = None
    trusted: Annotated[
        str,
        Meta(
            description=(
                "Folder in the repository with the public keys (`.casemate/public`) that an"
                " exported model must be signed with."
            ),
            pattern=r"^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$(?!\n)",
        ),
    ] = "trusted"
    secrets: Annotated[
        list[Variable],
        Meta(
            description=(
                "Environment variables that the build server keeps, by name, such as one that"
                " `[keys] passphrase` refers to as `env:NAME`; never their values."
            ),
            max_length=20,
        ),
    ] = []
    approvers: Annotated[
        list[Name],
        Meta(
            description=(
                "Jenkins: who may say that a model is deployed; default: whoever may build."
                " GitLab and GitHub keep them with the environment."
            ),
            max_length=50,
        ),
    ] = []
    role: Annotated[
        Annotated[
            str,
            Meta(
                pattern=r"^arn:aws[a-z-]{0,20}:iam::\d{12}:role/[A-Za-z0-9+=,.@_/-]{1,128}$(?!\n)"
            ),
        ]
        | None,
        Meta(
            description=(
                "AWS role that jobs take on with the build server's own token (OpenID), instead of"
                " a secret, where `[keys]` or `[store]` are there."
            )
        ),
    ] = None
    schedule: Annotated[
        Cron, Meta(description="When feedback is looked at, as cron has it: five fields, UTC.")
    ] = "17 3 * * 1"
    drill: Annotated[
        bool,
        Meta(
            description=(
                "Pipelines play the drill that is due before they train, and end where it does not"
                " hold."
            )
        ),
    ] = False
    kubernetes: Annotated[KubernetesTable, Meta(description="Of clusters.")] = KubernetesTable()
    kserve: Annotated[KServeTable, Meta(description="Of KServe.")] = KServeTable()
    aws: Annotated[
        AwsTable | None, Meta(description="Account, region and names of what is deployed to AWS.")
    ] = None


def impossible_deploy(table: DeployTable) -> list[str]:
    """What of `[deploy]` contradicts itself, or would let a variable steer the job that gets it."""
    problems = [
        f"[deploy] secrets: {name} steers the job itself, and is no secret"
        for name in table.secrets
        if name in STEERING or name.startswith(STEERING_BEGINS)
    ]
    if table.role is not None:
        problems += [
            f"[deploy] secrets: {name} would be used instead of [deploy] role; give one of them"
            for name in table.secrets
            if name.startswith("AWS_")
        ]
    return problems
