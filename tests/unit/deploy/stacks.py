"""A rendered CloudFormation template with what its references would be once it is there."""

from typing import Any

import yaml

ACCOUNT, REGION = "111122223333", "eu-central-1"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"


class _Loader(yaml.SafeLoader):
    """YAML with the two functions of CloudFormation that our templates have."""


_Loader.add_constructor("!Ref", lambda loader, node: {"Ref": loader.construct_scalar(node)})
_Loader.add_constructor(
    "!GetAtt", lambda loader, node: {"Fn::GetAtt": loader.construct_scalar(node).split(".")}
)


def raw(content: bytes) -> dict[str, Any]:
    """The template as it is written."""
    return yaml.load(content, Loader=_Loader)


def resolved(content: bytes) -> dict[str, Any]:
    """Its resources, by their names there; KeyError: a reference to nothing."""
    resources = raw(content)["Resources"]

    def arn(name: str) -> str:
        said = resources[name]["Properties"]
        if resources[name]["Type"] == "AWS::IAM::Role":
            return f"arn:aws:iam::{ACCOUNT}:role{said['Path']}{said['RoleName']}"
        assert resources[name]["Type"] == "AWS::KMS::Key"
        return KEY

    def walk(value: Any) -> Any:
        if isinstance(value, list):
            return [walk(one) for one in value]
        if not isinstance(value, dict):
            return value
        if set(value) == {"Fn::GetAtt"}:
            name, attribute = value["Fn::GetAtt"]
            assert attribute == "Arn"
            return arn(name)
        if set(value) == {"Ref"}:
            said = resources[value["Ref"]]["Properties"]
            return said.get("RoleName") or said.get("BucketName")
        return {key: walk(one) for key, one in value.items()}

    return walk(resources)
