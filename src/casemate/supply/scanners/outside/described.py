"""The gateway's own OpenAPI document, and what of it each role may ask for."""

import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import msgspec

from casemate.supply.scanners.endpoint.doors import PUBLIC, RULES
from casemate.supply.scanners.endpoint.matrix import Probe, permitted
from casemate.supply.scanners.fault import CouldNotLook
from casemate.supply.scanners.outside.relay import PROBE
from casemate.supply.scanners.running import Client, Identity, Target

ENDING = ("/access/session/end", "/access/session/renew", "/access/passkey", "/access/step-up")
"""Doors that would end the login by which a scanner looks, or count as tries to log in."""


def document(target: Target) -> dict[str, Any]:
    """What the gateway says that it offers.

    Raises:
        CouldNotLook: nobody may read it, or it is none.
    """
    reader = next((one for one in known(target) if "gateway:read project" in one.allowed), None)
    if reader is None:
        raise CouldNotLook("nobody may read the gateway's OpenAPI document")
    with Client(target) as client:
        reply = client.ask("GET", "/openapi.json", reader.token)
    try:
        found = msgspec.json.decode(reply.body, type=dict[str, Any])
        if reply.status != 200 or not isinstance(found["paths"], dict):
            raise TypeError
    except (msgspec.MsgspecError, KeyError, TypeError, RecursionError) as error:
        raise CouldNotLook(f"/openapi.json answers {reply.status}, and is no document") from error
    return found


def values_of(target: Target) -> dict[str, str]:
    """Parameters in paths -> what is there."""
    version = target.known.reference.rpartition("@")[2]
    return {"name": target.known.served, "version": version, "incident": "1"}


def known(target: Target) -> list[Identity]:
    """Those whom the gateway lets in."""
    return [one for one in target.known.identities if one.state == "good" and one.token]


def roles(target: Target, offered: dict[str, Any]) -> dict[frozenset[str], list[Identity]]:
    """What may be asked for (`METHOD PATH`) -> who may ask for exactly that, by their policies.

    Whoever is refused too often becomes an anomaly, rightly, so nobody is made to ask for what
    policy refuses: who gets in where is what `casemate-authorisation` looks at.
    """
    found: dict[frozenset[str], list[Identity]] = {}
    for one in known(target):
        may = frozenset(
            f"{method.upper()} {path}"
            for path, operations in offered["paths"].items()
            for method in operations
            if _may(one, path, method.upper())
        )
        if may:
            found.setdefault(may, []).append(one)
    return dict(sorted(found.items(), key=lambda pair: (-len(pair[0]), sorted(pair[0]))))


class Turns:
    """Who asks: of those who may ask for something, whoever has asked least.

    Args:
        groups: as `roles` has them.
        values: of parameters in paths.
    """

    def __init__(
        self, groups: dict[frozenset[str], list[Identity]], values: dict[str, str]
    ) -> None:
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()
        self._may: dict[str, list[Identity]] = {}
        for operation in sorted(frozenset().union(*groups)):
            those = [one[0] for may, one in groups.items() if operation in may]
            method, _, path = operation.partition(" ")
            for name, value in values.items():
                path = path.replace(f"{{{name}}}", value)
            self._may[f"{method} {path}"] = those
            # another method there: whoever may come to this door at all
            self._may.setdefault(path, those)
        self._all = [those[0] for those in groups.values()]

    def __call__(self, method: str, path: str) -> Identity:
        """Whose turn it is."""
        with self._lock:
            those = self._may.get(f"{method} {path}") or self._may.get(path) or self._all[:1]
            one = min(those, key=lambda one: self._asked[one.group])
            self._asked[one.group] += 1
            return one


def _may(identity: Identity, path: str, method: str) -> bool:
    rule = RULES.get(path)
    if rule is None or rule.method != method or path in ENDING:
        return False
    if path in PUBLIC:
        return True
    resource = "served" if rule.is_about_a_model else "project"
    probe = Probe(door=path, path=path, method=method, resource=resource)
    return permitted(rule, probe, identity)


def narrowed(
    offered: dict[str, Any], may: Sequence[str], values: dict[str, str], probe: dict[str, Any]
) -> bytes:
    """The same document of fewer operations, with one of the relay's own.

    Args:
        offered: the gateway's.
        may: `METHOD PATH` of those that stay.
        values: of parameters in paths, so that something that is there is asked for.
        probe: the operations of the relay's own door.
    """
    paths: dict[str, Any] = {PROBE: probe}
    for path, operations in offered["paths"].items():
        kept = {
            method: _filled(operation, values)
            for method, operation in operations.items()
            if f"{method.upper()} {path}" in may
        }
        if kept:
            paths[path] = kept
    rest = {name: value for name, value in offered.items() if name != "servers"}
    return msgspec.json.encode(rest | {"paths": paths})


def _filled(operation: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
    parameters = [
        one | {"schema": {"type": "string", "enum": [values[one["name"]]]}}
        if one.get("in") == "path" and one.get("name") in values
        else one
        for one in operation.get("parameters", [])
    ]
    return operation | ({"parameters": parameters} if parameters else {})


def concrete(
    offered: dict[str, Any],
    may: Sequence[str],
    values: dict[str, str],
    url: str,
    probe: dict[str, Any],
) -> bytes:
    """The same without parameters in paths: for who fills in `default`.

    Args:
        offered: the gateway's.
        may: `METHOD PATH` of those that stay.
        values: of parameters in paths.
        url: of the server.
        probe: the operations of the relay's own door.
    """
    paths: dict[str, Any] = {PROBE: probe}
    for path, operations in offered["paths"].items():
        kept = {
            method: operation
            | {
                "parameters": [
                    one for one in operation.get("parameters", []) if one["in"] != "path"
                ]
            }
            for method, operation in operations.items()
            if f"{method.upper()} {path}" in may
        }
        filled = path
        for name, value in values.items():
            filled = filled.replace(f"{{{name}}}", value)
        if kept:
            paths.setdefault(filled, {}).update(kept)
    return msgspec.json.encode(offered | {"paths": paths, "servers": [{"url": url}]})
