"""A cluster, asked through the official client: server-side apply, and what is there.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from casemate.core.errors import BackendError, ConfigError, RefusedError, TransientError
from casemate.core.files import scratch_folder
from casemate.deploy.cluster import access
from casemate.deploy.cluster.documents import Document, Key, key_of

MANAGER = "casemate"
"""The field manager under which everything is applied."""
OLDEST = (1, 30)
"""Kubernetes from which on ValidatingAdmissionPolicy is there, and server-side apply is settled."""
PAGE = 200
MOST_OBJECTS = 5000


class FieldConflict(RefusedError):
    """Somebody else manages fields in the cluster that would be changed."""

    code = "CM-FIELDS"
    exit_code = 1
    http_status = 409
    who = "whoever changed the cluster by hand, and the project's owner"

    def __init__(self, message: str, managers: set[str], *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.managers = managers
        """Who they are."""


class Cluster:
    """One cluster, as somebody whom it knows."""

    def __init__(self, client: Any, cache: Path) -> None:
        """Ask who it is.

        Args:
            client: `kubernetes.client.ApiClient`.
            cache: a private file for what discovery finds; the client's own place is a name in
                /tmp that anybody could have written.
        """
        from kubernetes.dynamic import DynamicClient

        self.host = str(client.configuration.host)
        with self._translated("ask for its version"):
            self._client = DynamicClient(client, cache_file=str(cache))
            told = self._client.version["kubernetes"]
            self.version = str(told.get("gitVersion", "")) if isinstance(told, dict) else ""
        found = re.match(r"v?(\d+)\.(\d+)", self.version)
        if found is None:
            raise BackendError(
                f"{self.host} does not say which Kubernetes it is", hint="name the API server"
            )
        if (int(found[1]), int(found[2])) < OLDEST:
            raise ConfigError(
                f"the cluster has Kubernetes {self.version}, and casemate applies to"
                f" {OLDEST[0]}.{OLDEST[1]} and later",
                hint="upgrade the cluster, or apply the files by hand: kubectl apply --server-side",
            )

    def get(self, key: Key) -> Document | None:
        """An object as the cluster has it; None: there is none."""
        from kubernetes.dynamic.exceptions import NotFoundError

        resource = self._resource(key.api, key.kind)
        with self._translated(f"read {key}"):
            try:
                return _body(resource.get(**self._place(resource, key), serialize=False))
            except NotFoundError:
                return None

    def list(
        self, api: str, kind: str, labels: str, namespace: str | None = None
    ) -> list[Document]:
        """Objects of a kind with these labels; of every namespace, or of one."""
        resource = self._resource(api, kind)
        found: list[Document] = []
        more: dict[str, Any] = {"label_selector": labels, "limit": PAGE, "serialize": False}
        if resource.namespaced and namespace:
            more["namespace"] = namespace
        with self._translated(f"list {kind}"):
            while True:
                answer = _body(resource.get(**more))
                items = answer.get("items")
                found += [
                    {"apiVersion": api, "kind": kind} | one
                    for one in (items if isinstance(items, list) else [])
                    if isinstance(one, dict)
                ]
                metadata = answer.get("metadata")
                token = metadata.get("continue") if isinstance(metadata, dict) else None
                if not token:
                    return found
                if len(found) >= MOST_OBJECTS:
                    raise BackendError(
                        f"{self.host} has more than {MOST_OBJECTS} objects of {kind}"
                    )
                more["_continue"] = token

    def apply(self, document: Document, *, dry_run: bool = False, force: bool = False) -> Document:
        """Say what an object's fields shall be, as their manager.

        Args:
            document: what is said of it; fields that were said before and are not any more go.
            dry_run: the server checks it and changes nothing.
            force: take fields over that others manage.

        Raises:
            FieldConflict: others manage some of them.
        """
        try:
            return self._apply(document, dry_run=dry_run, force=force)
        except FieldConflict as conflict:
            if conflict.managers != {MANAGER}:
                raise
        # what was set by `merge` counts as another manager's, of the same name
        return self._apply(document, dry_run=dry_run, force=True)

    def _apply(self, document: Document, *, dry_run: bool, force: bool) -> Document:
        key = key_of(document)
        resource = self._resource(key.api, key.kind)
        more: dict[str, Any] = {"dry_run": "All"} if dry_run else {}
        with self._translated(f"apply {key}"):
            answer = resource.server_side_apply(
                body=document,
                **self._place(resource, key),
                field_manager=MANAGER,
                force_conflicts="true" if force else "false",
                query_params=[("fieldValidation", "Strict")],  # else a typo is dropped silently
                serialize=False,
                **more,
            )
            return _body(answer)

    def merge(self, key: Key, patch: Document) -> Document:
        """Set some fields whoever manages them (RFC 7396)."""
        resource = self._resource(key.api, key.kind)
        with self._translated(f"change {key}"):
            answer = resource.patch(
                body=patch,
                **self._place(resource, key),
                content_type="application/merge-patch+json",
                field_manager=MANAGER,
                serialize=False,
            )
            return _body(answer)

    def write(self, document: Document) -> Document | None:
        """Create an object, or replace the version that `metadata.resourceVersion` names; None:
        somebody was faster.
        """
        from kubernetes.dynamic.exceptions import ConflictError

        key = key_of(document)
        resource = self._resource(key.api, key.kind)
        place = self._place(resource, key)
        place.pop("name")
        verb = resource.replace if document["metadata"].get("resourceVersion") else resource.create
        with self._translated(f"write {key}"):
            try:
                return _body(verb(body=document, **place, field_manager=MANAGER, serialize=False))
            except ConflictError:
                return None

    def delete(self, key: Key) -> bool:
        """Remove an object and what belongs to it; whether it was there."""
        from kubernetes.dynamic.exceptions import NotFoundError

        resource = self._resource(key.api, key.kind)
        with self._translated(f"delete {key}"):
            try:
                resource.delete(
                    **self._place(resource, key), propagation_policy="Background", serialize=False
                )
            except NotFoundError:
                return False
        return True

    def namespaced(self, api: str, kind: str) -> bool:
        """Whether objects of a kind stand in namespaces."""
        return bool(self._resource(api, kind).namespaced)

    def _place(self, resource: Any, key: Key) -> dict[str, Any]:
        if resource.namespaced and not key.namespace:
            raise ConfigError(
                f"{key} names no namespace", hint="metadata.namespace, or kustomize's namespace"
            )
        return {"name": key.name, "namespace": key.namespace or None}

    def _resource(self, api: str, kind: str) -> Any:
        from kubernetes.dynamic.exceptions import ResourceNotFoundError, ResourceNotUniqueError

        with self._translated(f"ask for {kind}"):
            try:
                return self._client.resources.get(api_version=api, kind=kind)
            except (ResourceNotFoundError, ResourceNotUniqueError):
                raise ConfigError(
                    f"the cluster (Kubernetes {self.version}) has no {kind} of {api}",
                    hint="install what brings it, or render for this version",
                ) from None

    @contextlib.contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        """Faults of the client as those of this package, none with a header or a token in it."""
        from kubernetes.client import ApiException

        try:
            yield
        except ApiException as error:
            raise self._fault(doing, error) from None
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BackendError(
                f"{self.host} was asked to {doing}, and answers in another way than an API server"
                f" ({type(error).__name__})",
                hint="see that the kubeconfig names the API server, and no proxy in between",
            ) from None

    def _fault(self, doing: str, error: Any) -> Exception:
        said, causes = _status(error.body)
        if error.status == 401:
            return BackendError(
                f"{self.host} does not know who asks", hint="get a new token for the kubeconfig"
            )
        if error.status == 403:
            return BackendError(
                f"{self.host} does not let casemate {doing}: {said}",
                hint="give the account a Role with it; nothing else is tried",
            )
        if error.status == 409 and any(reason == "FieldManagerConflict" for reason, *_ in causes):
            found = [
                (field, _manager(message))
                for reason, message, field in causes
                if reason == "FieldManagerConflict"
            ]
            named = "; ".join(f"{field} is managed by {manager}" for field, manager in found)
            return FieldConflict(
                f"casemate cannot {doing}: {named}",
                {manager for _, manager in found},
                hint=(
                    "write what was changed by hand into the project and render again, or let"
                    " the other manager go; --take-over overwrites it"
                ),
            )
        if error.status in (429, 500, 502, 503, 504, 409):
            return TransientError(
                f"{self.host} did not {doing} ({error.status}): {said}",
                hint="the same command again; it goes on where it stopped",
            )
        return ConfigError(
            f"{self.host} refuses to {doing} ({error.status}): {said}",
            hint="casemate deploy check FOLDER; then render and apply again",
        )


@contextlib.contextmanager
def connected(kubeconfig: Path | None, context: str | None, scratch: Path) -> Iterator[Cluster]:
    """A cluster for as long as the block lasts; files with its keys are gone afterwards.

    Args:
        kubeconfig: as `access.client` takes it.
        context: of the kubeconfig.
        scratch: under which a private folder is made.
    """
    with scratch_folder(scratch) as folder:
        client = access.client(kubeconfig, context, folder)
        try:
            yield Cluster(client, folder / "discovered.json")
        finally:
            client.close()


def _body(response: Any) -> Document:
    found = json.loads(response.data)
    if not isinstance(found, dict):
        raise ValueError  # noqa: TRY004 - translated with the other ways to answer wrongly
    return found


def _status(body: Any) -> tuple[str, list[tuple[str, str, str]]]:
    """What a Status says: (message, [(reason, message, field)])."""
    try:
        told = json.loads(body)
    except (TypeError, ValueError, RecursionError):
        return "it does not say why", []
    told = told if isinstance(told, dict) else {}
    details = told.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    found = [
        tuple(str(one.get(name, ""))[:300] for name in ("reason", "message", "field"))
        for one in (causes if isinstance(causes, list) else [])
        if isinstance(one, dict)
    ]
    return str(told.get("message") or "it does not say why")[:500], found[:50]  # type: ignore[return-value]


def _manager(message: str) -> str:
    """`conflict with "kubectl-edit" using apps/v1` names one."""
    found = re.search(r'"([^"]{1,128})"', message)
    return found[1] if found else "somebody else"
