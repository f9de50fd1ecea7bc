"""Everybody at every call of the gateway's gRPC, held against the policy engine as the doors of
HTTP are: each call stands for one of them.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import msgspec
from google.protobuf.api_pb2 import Mixin
from google.protobuf.struct_pb2 import Struct

from casemate.core.types import Record
from casemate.core.types.scan import ScanKind
from casemate.supply.scanners.endpoint.doors import MODEL, RULES, VERSION
from casemate.supply.scanners.endpoint.matrix import (
    ABSENT,
    ABSENT_VERSION,
    REFERENCES,
    Answered,
    Probe,
    differences,
    held,
    place_of,
    shared,
)
from casemate.supply.scanners.interface import CouldNotLook, Hit, Looked, Place
from casemate.supply.scanners.running import STEP_SECONDS, Known, Reply, Target

SERVICE = "/inference.GRPCInferenceService/"
SERVER = f"{SERVICE}ServerMetadata"
TELL = "/casemate.Feedback/Tell"
OF_SERVER = {"ServerLive": "/v2/health/live", "ServerReady": "/v2/health/ready",
             "ServerMetadata": "/v2"}  # fmt: skip
OF_MODEL = {"ModelReady": "/ready", "ModelMetadata": "", "ModelInfer": "/infer"}
HIDDEN = (
    *(f"{SERVICE}{name}" for name in ("ModelConfig", "ModelStreamInfer", "RepositoryIndex",
                                      "RepositoryModelLoad", "RepositoryModelUnload",
                                      "TraceSetting", "LogSettings")),
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    "/grpc.channelz.v1.Channelz/GetServers", "/casemate.Feedback/Show",
)  # fmt: skip
"""Calls that other servers have; ours answers that there is none."""
STATUS = {"OK": 200, "INVALID_ARGUMENT": 400, "UNAUTHENTICATED": 401, "PERMISSION_DENIED": 403,
          "NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429, "UNAVAILABLE": 503}  # fmt: skip
"""A code of gRPC -> what HTTP answers; others are errors."""


class Call(Record, frozen=True, kw_only=True):
    """One call."""

    path: str
    probe: Probe
    """The question over HTTP that it stands for."""
    message: bytes


class Calls:
    """Calls over one connection."""

    def __init__(self, target: Target, certificate: str | None = None) -> None:
        """Connect at the first call.

        Args:
            target: the gateway.
            certificate: see `Target.context`.
        """
        # else it writes a line for every handshake that fails
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        import grpc  # an extra, which a gateway that has calls has too

        self._library, self._target = grpc, target
        folder = target.known.certificate if certificate is None else certificate
        options = [("grpc.enable_http_proxy", 0)]
        if not target.is_tls:
            self._channel = grpc.insecure_channel(target.grpc, options)
            return
        files = (
            []
            if not folder
            else [Path(folder, f"{name}.pem").read_bytes() for name in ("key", "cert")]
        )
        trusted = None if target.ca is None else target.ca.read_bytes()
        credentials = grpc.ssl_channel_credentials(trusted, *files)
        self._channel = grpc.secure_channel(target.grpc, credentials, options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def __call__(self, path: str, token: str = "", message: bytes = b"") -> str:
        """The code that is answered.

        Args:
            path: of the call.
            token: empty: none.
            message: what is asked.
        """
        self._target.meter.take()
        metadata = [("authorization", f"Bearer {token}")] if token else []
        ask: Any = self._channel.unary_unary(path)
        try:
            ask(message, metadata=metadata, timeout=STEP_SECONDS)
        except self._library.RpcError as error:
            return str(error.code().name)
        return "OK"


class Grpc:
    """Looks at who gets in where over gRPC."""

    id = "casemate-grpc"
    kind: ScanKind = "endpoint"

    def look(self, place: Place) -> Looked:
        """See `Scanner.look`."""
        target = place.running()
        if not target.scratch:
            note = "gRPC: only a scratch copy is asked over it"
            return Looked(scanner=self.id, kind=self.kind, version="1", notes=[note])
        if not target.grpc:
            raise CouldNotLook("no gRPC is installed here", hint="pip install 'casemate[grpc]'")
        unseen: dict[str, str] = {}
        hits: list[Hit] = []
        answers: list[Answered] = []
        known = {(one.probe.path, one.probe.method): one for one in every(target.known)}
        try:
            for identity, share in shared(
                target.known.identities, [one.probe for one in known.values()]
            ):
                if not share:
                    continue
                with Calls(target, identity.certificate or None) as ask:
                    replies = [
                        _reply(ask(one.path, identity.token, one.message))
                        for one in (known[probe.path, probe.method] for probe in share)
                    ]
                answers += held(identity, share, replies, unseen)
            hits += hidden(target)
        except CouldNotLook as error:
            unseen[""] = f"after {len(answers)} calls: {error.sentence}"
        for hit in differences(answers):
            # a fault here is another one than at the door that the call stands for
            place_ = hit.path.replace(place_of(""), place_of("/grpc"), 1)
            hits.append(
                msgspec.structs.replace(hit, path=place_, message=f"over gRPC: {hit.message}")
            )
        return Looked(scanner=self.id, kind=self.kind, version="1", hits=hits, count=len(answers),
                      unseen=unseen)  # fmt: skip


def every(known: Known) -> Iterator[Call]:
    """Each call, about what is there and what is not."""
    for name, path in OF_SERVER.items():
        yield _call(f"{SERVICE}{name}", path, path, "project", b"")
    of = known.reference.rpartition("@")[2]
    asked = (
        ("served", known.served, ""), ("served", known.served, of),
        ("absent", ABSENT, ""), ("served", known.served, ABSENT_VERSION),
    )  # fmt: skip
    for resource, model, version in asked:
        door = VERSION if version else MODEL
        path = door.replace("{name}", model).replace("{version}", version)
        # a message of two texts: so does every one of a call about a model begin
        message = Mixin(name=model, root=version).SerializeToString()
        for name, last in OF_MODEL.items():
            yield _call(f"{SERVICE}{name}", door + last, path + last, resource, message)
        if not version:
            told = Struct()
            told.update({"model": model})
            message = told.SerializeToString()
            yield _call(TELL, f"{door}/feedback", f"{path}/feedback", resource, message)


def _call(call: str, door: str, path: str, resource: str, message: bytes) -> Call:
    probe = Probe(door=door, path=path, method=RULES[door].method, resource=resource)
    return Call(path=call, probe=probe, message=message)


def _reply(code: str) -> Reply:
    return Reply(status=STATUS.get(code, 500), headers={}, body=b"")


def hidden(target: Target) -> Iterator[Hit]:
    """Calls that nobody lists, asked by whoever may do most."""
    with Calls(target) as ask:
        for path in HIDDEN:
            code = ask(path, target.widest().token)
            if code != "UNIMPLEMENTED":
                yield Hit(
                    rule="endpoint.door-unknown",
                    severity="high",
                    message=f"over gRPC {path} answers {code}, and is no call of the gateway",
                    path=place_of("/grpc"),
                    material=path,
                    references=REFERENCES["unknown"],
                    mend="write down what it asks of policy, or take it away",
                )
