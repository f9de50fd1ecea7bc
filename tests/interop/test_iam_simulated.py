"""A rendered role can do exactly its table of actions: a simulator of IAM that is not ours is asked
about every line, with the trust, key and bucket policies that would answer too.
"""

import collections
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conftest import TOML
from tests.interop.npm import installed
from tests.unit.deploy import stacks
from tests.unit.deploy.test_sagemaker import AWS

from casemate.config import parse
from casemate.deploy.aws import iam
from casemate.deploy.aws.actions import actions
from casemate.deploy.aws.asked import ROLES
from casemate.deploy.aws.names import names_of
from casemate.deploy.interface import Given

SOURCE = Path(__file__).with_name("policies")
CONFIG = parse(TOML + AWS)
NAMES = names_of(CONFIG)


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    if shutil.which("node") is None:
        pytest.skip("no node: apt-get install nodejs npm")
    return installed(SOURCE, tmp_path_factory.mktemp("tools"), "iam-simulate").parent


def resources(change=lambda text: text):
    (content,) = (
        content
        for name, content in iam.render(Given(CONFIG, Path("/r"), Path("/r"), {})).files.items()
        if name.endswith(".yaml")
    )
    return stacks.resolved(change(content.decode()).encode())


def case(asked, stack):
    """What the simulator is told of one line."""
    mine = asked.principal in ROLES
    role = f"{asked.principal.capitalize()}Role"
    policies = [
        one["Properties"]["PolicyDocument"]
        for one in stack.values()
        if one["Type"] == "AWS::IAM::ManagedPolicy"
        and mine
        and stack[role]["Properties"]["RoleName"] in one["Properties"]["Roles"]
    ]
    if asked.principal.startswith("arn:") and asked.action != "sts:AssumeRole":
        policies = [{"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "*", "Resource": "*"}]}]  # fmt: skip
    principal = NAMES.role(asked.principal) if mine else asked.principal
    if mine:
        name = stack[role]["Properties"]["RoleName"]
        principal = f"arn:aws:sts::{stacks.ACCOUNT}:assumed-role/{name}/s"
    return {
        "principal": principal,
        "policies": policies,
        "resource_policy": policy_of(asked, stack),
        "action": asked.action,
        "resource": asked.resource,
        "account": stacks.ACCOUNT,
        "context": asked.context,
    }


def policy_of(asked, stack):
    """Of the resource itself."""
    for one in stack.values():
        said = one["Properties"]
        if one["Type"] == "AWS::KMS::Key" and asked.resource == stacks.KEY:
            return said["KeyPolicy"]
        if one["Type"] == "AWS::S3::BucketPolicy" and asked.resource.split("/")[0].endswith(
            f":::{said['Bucket']}"
        ):
            return said["PolicyDocument"]
        mine = asked.resource.endswith(f"/{said.get('RoleName')}")
        if one["Type"] == "AWS::IAM::Role" and asked.action == "sts:AssumeRole" and mine:
            return said["AssumeRolePolicyDocument"]
    return None


SEALED, KNOWN = "kms:EncryptionContext:aws:s3:arn", "kms:EncryptionContext:${EncryptionContextKey}"
"""A key with a name of its own behind the colon, and the only name by which the simulator has it."""


def answers(tools, cases):
    done = subprocess.run(
        ["node", SOURCE / "simulate.mjs", tools],
        input="".join(json.dumps(one).replace(SEALED, KNOWN) + "\n" for one in cases),
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_principal_may_do_its_table_and_nothing_else(tools):
    stack, table = resources(), actions(NAMES, stacks.KEY)
    said = answers(tools, [case(asked, stack) for asked in table])
    wrong = [
        (asked.principal, asked.action, asked.resource, asked.because, asked.context, one)
        for asked, one in zip(table, said, strict=True)
        if one["kind"] == "error" or (one["result"] == "Allowed") != asked.allowed or one["ignored"]
    ]
    assert wrong == []
    counts = collections.Counter((asked.principal, asked.allowed) for asked in table)
    assert all(counts[who, allowed] >= 4 for who in ROLES for allowed in (True, False)), counts


DOCUMENTS = ("PolicyDocument", "AssumeRolePolicyDocument", "KeyPolicy")


def mutants(stack):
    """The same stack with one thing less: a statement, a condition, the limit of a resource, or one
    action; and what is gone.
    """
    for name, one in stack.items():
        for document in (key for key in DOCUMENTS if key in one["Properties"]):
            statements = one["Properties"][document]["Statement"]
            for place, statement in enumerate(statements):
                where = f"{name} {statement['Sid']}"
                yield f"{where}: gone", changed(stack, name, document, place, None)
                for operator, tests in statement.get("Condition", {}).items():
                    for key in tests:
                        less = {op: {k: v for k, v in t.items() if (op, k) != (operator, key)}
                                for op, t in statement["Condition"].items()}  # fmt: skip
                        less = {op: t for op, t in less.items() if t}
                        yield (
                            f"{where}: without {operator} {key}",
                            changed(stack, name, document, place, {**statement, "Condition": less}),
                        )
                if document == "PolicyDocument" and statement["Resource"] != "*":
                    wider = {**statement, "Resource": "*"}
                    if name.endswith("BucketPolicy") or statement["Effect"] == "Deny":
                        continue
                    yield f"{where}: any resource", changed(stack, name, document, place, wider)


def changed(stack, name, document, place, statement):
    said = stack[name]["Properties"]
    statements = [*said[document]["Statement"]]
    statements[place : place + 1] = [] if statement is None else [statement]
    own = {**said, document: {**said[document], "Statement": statements}}
    return {**stack, name: {**stack[name], "Properties": own}}


def test_nothing_can_be_taken_from_the_template_that_the_table_does_not_notice(tools):
    """No statement, condition or limit is there that no line needs."""
    stack, table = resources(), actions(NAMES, stacks.KEY)
    before = [case(asked, stack) for asked in table]
    cases, about = [], []
    for what, mutant in mutants(stack):
        for asked, was in zip(table, before, strict=True):
            now = case(asked, mutant)
            if now != was:  # others are answered as before
                cases.append(now)
                about.append((what, asked))
    said = answers(tools, cases)
    noticed = {
        what
        for (what, asked), one in zip(about, said, strict=True)
        if one["kind"] == "error" or (one["result"] == "Allowed") != asked.allowed
    }
    made = [what for what, _ in mutants(stack)]
    assert len(made) > 100
    assert [what for what in made if what not in noticed] == []
