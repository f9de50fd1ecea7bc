"""What is unsafe in the template of roles, key and buckets as it lies there, edited perhaps.
A linter: who may do what by it, `access.md` says.
"""

from collections.abc import Iterator
from typing import Any

import yaml

from casemate.deploy.documents import Strict, Unreadable, documents

FILE = "access.yaml"
CLOSED = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
REVERSED = ("NotAction", "NotPrincipal", "NotResource")
"""Elements that allow all but what they name."""


class _Template(Strict):
    """With the short forms of CloudFormation's functions, such as `!Ref NAME`."""


def _function(loader: _Template, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.MappingNode):
        return {name: loader.construct_mapping(node, deep=True)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    return {name: node.value}


_Template.add_multi_constructor("!", _function)


def dangers(name: str, content: bytes) -> list[str]:
    """In the file `name`; nothing in files that make nothing."""
    if name != FILE:
        return []
    try:
        found = documents(content, _Template)
    except Unreadable as error:
        return [str(error)]
    template = found[0] if len(found) == 1 and isinstance(found[0], dict) else {}
    resources = template.get("Resources")
    if not isinstance(resources, dict):
        return ["it holds something else than resources of CloudFormation"]
    return [
        f"{resource}: {fault}" for resource, said in resources.items() for fault in _faults(said)
    ]


def _faults(resource: Any) -> Iterator[str]:
    for statement in _allowing(resource):
        patterns = [one for one in _listed(statement.get("Action")) if "*" in str(one)]
        if patterns:
            yield f"allows {patterns[0]}: name each action"
        for name in REVERSED:
            if name in statement:
                yield f"allows all but what {name} names"
        principal = statement.get("Principal")
        whom = list(principal.values()) if isinstance(principal, dict) else [principal]
        if "*" in [one for each in whom for one in _listed(each)]:
            yield "allows it to everybody (Principal)"
    if isinstance(resource, dict) and resource.get("Type") == "AWS::S3::Bucket":
        properties = resource.get("Properties")
        properties = properties if isinstance(properties, dict) else {}
        said = properties.get("PublicAccessBlockConfiguration")
        if not isinstance(said, dict) or any(said.get(one) is not True for one in CLOSED):
            yield "is not closed to the public (PublicAccessBlockConfiguration)"


def _allowing(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if value.get("Effect") == "Allow":
            yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _allowing(one)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
