"""A small API server of Kubernetes for tests, over real TLS: objects are judged by the schemas of
`kubernetes-validate`, and server-side apply keeps managed fields as these schemas say (maps, lists
that are maps, sets, atoms). No scheduler: a Deployment is ready when a test says so.

https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

import copy
import datetime
import functools
import ipaddress
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jsonschema
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from kubernetes.utils.quantity import parse_quantity
from referencing import Registry, Resource

KINDS = [
    *(("v1", plural, kind, kind != "Namespace") for plural, kind in [
        ("namespaces", "Namespace"), ("services", "Service"), ("configmaps", "ConfigMap"),
        ("serviceaccounts", "ServiceAccount"), ("persistentvolumeclaims", "PersistentVolumeClaim"),
        ("pods", "Pod"), ("secrets", "Secret"), ("resourcequotas", "ResourceQuota"),
        ("limitranges", "LimitRange"),
    ]),
    ("apps/v1", "deployments", "Deployment", True),
    ("batch/v1", "cronjobs", "CronJob", True),
    ("batch/v1", "jobs", "Job", True),
    ("autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True),
    ("policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", True),
    ("networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", True),
    ("networking.k8s.io/v1", "ingresses", "Ingress", True),
    ("rbac.authorization.k8s.io/v1", "roles", "Role", True),
    ("rbac.authorization.k8s.io/v1", "rolebindings", "RoleBinding", True),
    *(("admissionregistration.k8s.io/v1", plural, kind, False) for plural, kind in [
        ("validatingadmissionpolicies", "ValidatingAdmissionPolicy"),
        ("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding"),
    ]),
]  # fmt: skip
OURS = {"f:apiVersion", "f:kind"}
META = {
    f"f:{name}"
    for name in ("name", "namespace", "managedFields", "creationTimestamp", "uid",
                 "resourceVersion", "generation")
}  # fmt: skip
POD = {
    "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
    "terminationGracePeriodSeconds": 30, "securityContext": {},
}  # fmt: skip
CONTAINER = {
    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
    "imagePullPolicy": "IfNotPresent", "resources": {},
}  # fmt: skip


@functools.cache
def _schemas(version):
    """(definitions, schema by kind) of a minor version."""
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema"
    folder /= f"v{version}.0-local-strict"
    definitions = json.loads((folder / "_definitions.json").read_text())

    @functools.cache
    def schema(api, kind):
        group, _, tail = api.rpartition("/")
        name = f"{kind.lower()}-{group.split('.')[0] + '-' if group else ''}{tail}.json"
        return json.loads((folder / name).read_text())

    @functools.cache
    def validator(api, kind):
        registry = Resource.from_contents(definitions) @ Registry()
        return jsonschema.Draft202012Validator(schema(api, kind), registry=registry)

    return definitions["$defs"], schema, validator


class Refused(Exception):
    """An answer other than 2xx."""

    def __init__(self, status, reason, message, causes=()):
        super().__init__(message)
        self.status = status
        self.told = {
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message,
            "reason": reason, "code": status, "details": {"causes": list(causes)},
        }  # fmt: skip


class ApiServer:
    """`with ApiServer(folder) as server`: its kubeconfig is `server.kubeconfig`."""

    def __init__(self, folder, version="1.34", *, git=None, days=1):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.version, self.git = version, git or f"v{version}.2"
        self.definitions, self.schema, self.validator = _schemas(version)
        self.objects, self.revision, self.lock = {}, 0, threading.RLock()
        self.requests, self.ready, self.jobs, self.token = [], True, "Complete", "a-token"
        self.fault = lambda method, path: None
        """(status, headers, body) instead of the answer, or None."""
        self.after = lambda method, path: None
        """Called when the request was done, before it is answered."""
        self.kinds = {(api, kind): (plural, spaced) for api, plural, kind, spaced in KINDS}
        certificate(self.folder, days)

    def __enter__(self):
        handler = type("Handler", (_Handler,), {"api": self})
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "server.pem", self.folder / "server.key")
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.http.daemon_threads = True
        self.http.handle_error = lambda *_: None  # whoever does not believe us hangs up
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"https://127.0.0.1:{self.http.server_port}"
        self.kubeconfig = self.folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(self.config()))
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def config(self, user=None, cluster=None):
        """What a kubeconfig says."""
        here = {"server": self.url, "certificate-authority": "ca.pem"} | (cluster or {})
        return {
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "c", "cluster": here}],
            "users": [{"name": "u", "user": user if user is not None else {"token": self.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "c", "user": "u"}}],
        }  # fmt: skip

    # what tests ask and do

    def find(self, kind, name):
        """An object as it is kept, or None."""
        return next(
            (one for (_, k, _, n), one in self.objects.items() if (k, n) == (kind, name)), None
        )

    def names(self, kind):
        return sorted(name for (_, k, _, name) in self.objects if k == kind)

    def edit(self, kind, name, change, manager="kubectl-edit"):
        """Somebody changes an object by hand."""
        with self.lock:
            key = next(one for one in self.objects if one[1] == kind and one[3] == name)
            new = copy.deepcopy(self.objects[key])
            change(new)
            self._update(key, new, manager)

    def sent(self, *methods):
        """(method, path) of the requests that change something."""
        wanted = methods or ("POST", "PUT", "PATCH", "DELETE")
        return [
            (method, path)
            for method, path, query in self.requests
            if method in wanted and "dryRun" not in query
        ]

    def state(self):
        """What the cluster runs, without what counts or dates it."""
        kept = {}
        for key, one in self.objects.items():
            one = copy.deepcopy(one)  # noqa: PLW2901
            for name in (
                "resourceVersion",
                "managedFields",
                "uid",
                "generation",
                "creationTimestamp",
            ):
                one["metadata"].pop(name, None)
            one.pop("status", None)
            if one["metadata"]["name"] != "casemate-release":
                kept[key] = one
        return kept

    # the server

    def answer(self, method, path, query, body, content_type):
        """(status, object)."""
        parts = [one for one in path.split("/") if one]
        if parts == ["version"]:
            return 200, {"major": "1", "minor": self.version.split(".")[1], "gitVersion": self.git}
        if parts == ["apis"]:
            groups = {}
            for api, *_ in KINDS:
                if "/" in api:
                    groups.setdefault(api.split("/")[0], []).append(api)
            return 200, {"kind": "APIGroupList", "groups": [
                {"name": name, "versions": [_version(api) for api in dict.fromkeys(apis)],
                 "preferredVersion": _version(apis[0])}
                for name, apis in groups.items()
            ]}  # fmt: skip
        api = "v1" if parts[0] == "api" else "/".join(parts[1:3])
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        if not rest:
            return 200, {"kind": "APIResourceList", "groupVersion": api, "resources": [
                {"name": plural, "singularName": "", "namespaced": spaced, "kind": kind,
                 "verbs": ["create", "delete", "get", "list", "patch", "update"]}
                for a, plural, kind, spaced in KINDS if a == api
            ]}  # fmt: skip
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        kind = next((k for a, p, k, _ in KINDS if (a, p) == (api, rest[0])), None)
        if kind is None:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        with self.lock:
            if len(rest) == 1 and method == "GET":
                return 200, self._list(api, kind, namespace, query)
            name = rest[1] if len(rest) > 1 else body["metadata"]["name"]
            return self._one(method, (api, kind, namespace, name), query, body, content_type)

    def _list(self, api, kind, namespace, query):
        wanted = dict(one.split("=") for one in query.get("labelSelector", "").split(",") if one)
        found = [
            self._shown(one)
            for (a, k, ns, _), one in sorted(self.objects.items())
            if (a, k) == (api, kind)
            and (not namespace or ns == namespace)
            and wanted.items() <= one["metadata"].get("labels", {}).items()
        ]
        start, limit = int(query.get("continue", 0)), int(query.get("limit", 0)) or len(found)
        rest = start + limit
        metadata = {"continue": str(rest)} if rest < len(found) else {}
        items = [{k: v for k, v in one.items() if k not in ("kind", "apiVersion")} for one in found]
        return {"kind": f"{kind}List", "apiVersion": api, "metadata": metadata,
                "items": items[start:rest]}  # fmt: skip

    def _one(self, method, key, query, body, content_type):
        _, kind, namespace, name = key
        dry, there = "dryRun" in query, self.objects.get(key)
        manager = query.get("fieldManager", "python-requests")
        if method != "GET" and namespace and ("v1", "Namespace", "", namespace) not in self.objects:
            raise Refused(404, "NotFound", f'namespaces "{namespace}" not found')
        applies = method == "PATCH" and content_type == "application/apply-patch+yaml"
        if there is None and not (applies or method == "POST"):
            raise Refused(404, "NotFound", f'{self.kinds[key[:2]][0]} "{name}" not found')
        if method == "GET":
            return 200, self._shown(there)
        if method == "DELETE":
            if not dry:
                del self.objects[key]
            return 200, {"kind": "Status", "apiVersion": "v1", "status": "Success"}
        if method == "POST" and there is not None:
            raise Refused(409, "AlreadyExists", f'{kind} "{name}" already exists')
        if method == "PUT" and body["metadata"].get("resourceVersion") not in (
            None, there["metadata"]["resourceVersion"],
        ):  # fmt: skip
            raise Refused(409, "Conflict", "the object has been modified")
        if applies:
            if body["metadata"].get("managedFields"):
                raise Refused(400, "BadRequest", "metadata.managedFields must be nil")
            new = self._applied(key, there, body, manager, force=query.get("force") == "true")
            if not dry:
                self._keep(key, new)
        elif method == "PATCH":
            new = self._update(key, _merged_patch(there, body), manager, dry=dry)
        else:
            new = self._update(key, body, manager, dry=dry)
        return 201 if there is None else 200, self._shown(new)

    def _judged(self, key, one):
        try:
            self.validator(*key[:2]).validate(one)
        except jsonschema.ValidationError as error:
            where = ".".join(map(str, error.path))
            raise Refused(
                422, "Invalid", f"{key[1]} is invalid: {where}: {error.message[:200]}"
            ) from None
        if key[1] == "Deployment":
            spec, there = one["spec"], self.objects.get(key)
            labels = spec["template"]["metadata"].get("labels", {})
            if not spec["selector"].get("matchLabels", {}).items() <= labels.items():
                raise Refused(422, "Invalid", "`selector` does not match template `labels`")
            if there is not None and there["spec"]["selector"] != spec["selector"]:
                raise Refused(422, "Invalid", "spec.selector: field is immutable")

    def _applied(self, key, there, said, manager, *, force):
        schema = self.schema(*key[:2])
        new = self._fields(said, schema)
        others = {k: v for k, v in self._managed(there).items() if k != (manager, "Apply")}
        causes = []
        for (name, _), paths in others.items():
            for path in sorted(new & paths):
                if _at(there, path) != _at(said, path):
                    dotted = "".join(_dotted(step) for step in path)
                    causes.append({"reason": "FieldManagerConflict", "field": dotted,
                                   "message": f'conflict with "{name}" using {key[0]}'})  # fmt: skip
        if causes and not force:
            many = f"Apply failed with {len(causes)} conflicts"
            raise Refused(409, "Conflict", many, causes)
        if causes:
            others = {k: {p for p in v if p not in new} for k, v in others.items()}
        result = copy.deepcopy(there) if there else {"apiVersion": key[0], "kind": key[1]}
        held = self._managed(there).get((manager, "Apply"), set())
        kept = set().union(new, *others.values())
        for path in sorted(held - kept, key=len, reverse=True):
            _drop(result, path)
        result = self._merge(result, said, schema)
        self._defaults(key, result)
        self._judged(key, result)
        return self._stamped(key, there, result, others | {(manager, "Apply"): new})

    def _update(self, key, new, manager, *, dry=False):
        there = self.objects.get(key)
        new = copy.deepcopy(new)
        new.setdefault("apiVersion", key[0])
        new.setdefault("kind", key[1])
        self._defaults(key, new)
        self._judged(key, {k: v for k, v in new.items() if k != "status"})
        schema = self.schema(*key[:2])
        before, after = self._fields(there or {}, schema), self._fields(new, schema)
        changed = {p for p in after if p not in before or _at(there, p) != _at(new, p)}
        gone = before - after
        managed = {k: v - changed - gone for k, v in self._managed(there).items()}
        mine = managed.get((manager, "Update"), set()) | changed
        result = self._stamped(key, there, new, managed | {(manager, "Update"): mine})
        if not dry:
            self._keep(key, result)
        return result

    def _stamped(self, key, there, new, managed):
        metadata = new.setdefault("metadata", {})
        old = there["metadata"] if there else {}
        if key[2]:
            metadata["namespace"] = key[2]
        metadata["uid"] = old.get("uid", f"uid-{len(self.objects)}-{time.monotonic_ns()}")
        metadata["creationTimestamp"] = old.get("creationTimestamp", "2026-01-01T00:00:00Z")
        changed = there is None or there.get("spec") != new.get("spec")
        metadata["generation"] = old.get("generation", 0) + changed
        metadata["managedFields"] = [
            {"manager": name, "operation": how, "apiVersion": key[0], "fieldsType": "FieldsV1",
             "time": "2026-01-01T00:00:00Z", "fieldsV1": _tree(paths)}
            for (name, how), paths in managed.items() if paths
        ]  # fmt: skip
        return new

    def _keep(self, key, new):
        self.revision += 1
        new["metadata"]["resourceVersion"] = str(self.revision)
        self.objects[key] = new

    def _shown(self, one):
        one = copy.deepcopy(one)
        if one.get("kind") == "Job":
            one["status"] = {"conditions": [{"type": self.jobs, "status": "True"}]}
        if one.get("kind") == "Deployment":
            wanted = one["spec"].get("replicas", 1)
            ready = self.ready(one) if callable(self.ready) else self.ready
            count = wanted if ready else 0
            one["status"] = {
                "observedGeneration": one["metadata"]["generation"], "replicas": wanted,
                "updatedReplicas": wanted, "readyReplicas": count, "availableReplicas": count,
            }  # fmt: skip
        return one

    def _managed(self, one):
        entries = one["metadata"].get("managedFields", []) if one else []
        return {(e["manager"], e["operation"]): set(_flat(e["fieldsV1"])) for e in entries}

    # what schemas say

    def _resolved(self, schema):
        while "$ref" in schema:
            schema = self.definitions[schema["$ref"].rsplit("/", 1)[1]]
        return schema

    def _keys(self, schema):
        return (
            schema.get("x-kubernetes-list-map-keys")
            if schema.get("x-kubernetes-list-type") == "map"
            else None
        )

    def _fields(self, value, schema, path=()):
        """Paths of a value, in the words of fieldsV1."""
        schema = self._resolved(schema)
        found = set()
        if isinstance(value, dict) and schema.get("x-kubernetes-map-type") != "atomic":
            for name, one in value.items():
                step = f"f:{name}"
                at = (*path, step)
                if (
                    at[0] in OURS
                    or at[0] == "f:status"
                    or (at[0] == "f:metadata" and step in META and len(at) == 2)
                ):
                    continue
                inner = schema.get("properties", {}).get(
                    name, schema.get("additionalProperties", {})
                )
                found |= self._fields(one, inner if isinstance(inner, dict) else {}, at)
            return found or ({path} if path and path != ("f:metadata",) else set())
        keys = self._keys(schema)
        if isinstance(value, list) and keys:
            for item in value:
                at = (*path, _item(item, keys))
                found |= {(*at, ".")} | self._fields(item, schema["items"], at)
            return found
        if isinstance(value, list) and schema.get("x-kubernetes-list-type") == "set":
            return {(*path, f"v:{json.dumps(item)}") for item in value}
        return {path}

    def _merge(self, there, said, schema):
        schema = self._resolved(schema)
        if (
            isinstance(said, dict)
            and isinstance(there, dict)
            and schema.get("x-kubernetes-map-type") != "atomic"
        ):
            result = dict(there)
            for name, one in said.items():
                inner = schema.get("properties", {}).get(
                    name, schema.get("additionalProperties", {})
                )
                inner = inner if isinstance(inner, dict) else {}
                result[name] = (
                    self._merge(there[name], one, inner) if name in there else copy.deepcopy(one)
                )
            return result
        keys = self._keys(schema)
        if isinstance(said, list) and isinstance(there, list) and keys:
            left = {_item(one, keys): one for one in there}
            for item in said:
                step = _item(item, keys)
                left[step] = (
                    self._merge(left[step], item, schema["items"])
                    if step in left
                    else copy.deepcopy(item)
                )
            return list(left.values())
        return copy.deepcopy(said)

    def _defaults(self, key, one):
        """A few of the many that a server adds."""
        spec = one.get("spec", {})
        if key[1] == "Deployment":
            for name, value in {
                "replicas": 1,
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
            }.items():
                spec.setdefault(name, value)
            spec.setdefault("strategy", {"type": "RollingUpdate"})
            pod = spec["template"]["spec"]
            for name, value in POD.items():
                pod.setdefault(name, copy.deepcopy(value))
            for container in [*pod.get("containers", []), *pod.get("initContainers", [])]:
                for name, value in CONTAINER.items():
                    container.setdefault(name, copy.deepcopy(value))
                for port in container.get("ports", []):
                    port.setdefault("protocol", "TCP")
                for sizes in container["resources"].values():
                    if isinstance(sizes, dict) and "cpu" in sizes:
                        cpu = parse_quantity(sizes["cpu"])
                        sizes["cpu"] = str(int(cpu)) if cpu == int(cpu) else f"{int(cpu * 1000)}m"
        if key[1] == "Service":
            spec.setdefault("type", "ClusterIP")
            spec.setdefault("clusterIP", "10.0.0.1")
            spec.setdefault("sessionAffinity", "None")
            for port in spec.get("ports", []):
                port.setdefault("protocol", "TCP")
                port.setdefault("targetPort", port["port"])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    api: ApiServer

    def log_message(self, *_):
        pass

    def _do(self):
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        self.api.requests.append((self.command, parts.path, query))
        found = self.api.fault(self.command, parts.path)
        if found is None:
            try:
                if self.headers.get("Authorization") != f"Bearer {self.api.token}":
                    raise Refused(401, "Unauthorized", "Unauthorized")
                body = yaml.safe_load(raw) if raw else None
                status, told = self.api.answer(
                    self.command, parts.path, query, body, self.headers.get("Content-Type", "")
                )
            except Refused as refused:
                status, told = refused.status, refused.told
            found = status, {}, json.dumps(told).encode()
        self.api.after(self.command, parts.path)
        status, headers, content = found
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(content)),
        }.items():
            if name not in headers:
                self.send_header(name, value)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do


def _version(api):
    return {"groupVersion": api, "version": api.split("/")[1]}


def _item(item, keys):
    defaults = {"protocol": "TCP"}
    return "k:" + json.dumps(
        {key: item.get(key, defaults.get(key)) for key in sorted(keys)}, sort_keys=True
    )


def _same_item(item, step):
    wanted = json.loads(step[2:])
    return all(
        item.get(key, "TCP" if key == "protocol" else None) == value
        for key, value in wanted.items()
    )


def _at(one, path):
    for step in path:
        if one is None or step == ".":
            return one if step != "." else ...
        if step.startswith("f:"):
            one = one.get(step[2:]) if isinstance(one, dict) else None
        elif step.startswith("k:"):
            one = next((item for item in one if _same_item(item, step)), None)
        else:
            return json.loads(step[2:]) in one
    return one


def _drop(one, path):
    *above, last = path
    if last == ".":
        *above, last = above
    one = _at(one, above) if above else one
    if one is None:
        return
    if last.startswith("f:"):
        one.pop(last[2:], None)
    elif last.startswith("k:"):
        one[:] = [item for item in one if not _same_item(item, last)]
    else:
        one[:] = [item for item in one if item != json.loads(last[2:])]


def _dotted(step):
    if step.startswith("f:"):
        return f".{step[2:]}"
    return f"[{step[2:]}]" if step != "." else ""


def _tree(paths):
    tree = {}
    for path in sorted(paths):
        at = tree
        for step in path:
            at = at.setdefault(step, {})
    return tree


def _flat(tree, path=()):
    if not tree:
        yield path
    for step, inner in tree.items():
        yield from _flat(inner, (*path, step))


def _merged_patch(there, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(there) if isinstance(there, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged_patch(result.get(name), value)
    return result


def certificate(folder, days):
    """An authority, and a server's certificate that ends in `days` (negative: has ended)."""
    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, n)]) for n in ("ca", "api")]
    for at, (key, name) in enumerate(zip(keys, names, strict=True)):
        builder = (
            x509.CertificateBuilder().subject_name(name).issuer_name(names[0])
            .public_key(key.public_key()).serial_number(at + 1)
            .not_valid_before(now - datetime.timedelta(days=9))
            .not_valid_after(now + datetime.timedelta(days=days if at else 9))
            .add_extension(x509.BasicConstraints(ca=not at, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), critical=False)
        )  # fmt: skip
        if at:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        made = builder.sign(keys[0], hashes.SHA256())
        pem = serialization.Encoding.PEM
        (folder / ("server.pem" if at else "ca.pem")).write_bytes(made.public_bytes(pem))
        if at:
            private = key.private_bytes(
                pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            (folder / "server.key").write_bytes(private)
