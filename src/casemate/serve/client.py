"""The gateway's simplest client: rows of a CSV file in, class and probabilities out."""

import http.client
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from casemate.config import DataTable
from casemate.controls.keys.certificates import CHAIN, KEY
from casemate.core.errors import AccessDenied, BackendError, ConfigError, DataError, RequestError
from casemate.stages.data import source

BATCH = 1000
TIMEOUT = 60.0


class Client:
    """One connection to a gateway."""

    def __init__(self, url: str, token: str, authority: Path, certificate: Path | None = None) -> None:
        """Connect lazily.

        Args:
            url: `https://host:port`.
            token: a bearer token.
            authority: the CA certificate (PEM) to trust, nothing else is.
            certificate: folder with `cert.pem` and `key.pem`, where the gateway demands one.
        """
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise BackendError(f"{url!r} is not an https URL")
        context = ssl.create_default_context(cafile=str(authority))
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        if certificate is not None:
            try:
                context.load_cert_chain(certificate / CHAIN, certificate / KEY)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(
                    f"{certificate} holds no client certificate", hint="casemate keys certificate issue client NAME --out DIR"
                ) from error
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._connection = http.client.HTTPSConnection(parts.hostname, parts.port or 443, timeout=TIMEOUT, context=context)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """One exchange; AccessDenied, RequestError or BackendError when it is refused."""
        content = None if body is None else msgspec.json.encode(body)
        try:
            self._connection.request(method, path, content, self._headers)
            reply = self._connection.getresponse()
            answer = reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise BackendError(f"no gateway answers at {self._url}: {error}", hint="start it with `casemate serve`") from error
        if reply.status in (401, 403):
            raise AccessDenied(f"the gateway refused the token ({reply.status})", hint="`casemate access token create`")
        if reply.status != 200:
            raise RequestError(f"the gateway answered {reply.status}: {answer[:300].decode(errors='replace')}")
        return msgspec.json.decode(answer)

    def predict(self, model: str, table: pa.Table) -> Iterator[tuple[list[str], list[list[Any]]]]:
        """(names, rows of values) for batches of `table`, whose columns are text as read by `read_rows`.

        The label and `p_CLASS` for each probability that may be seen, or the quantities under their targets' names.
        """
        described = self.call("GET", f"/v2/models/{model}")
        absent = [item["name"] for item in described["inputs"] if item["name"] not in table.column_names]
        if absent:
            raise DataError(f"the file has no column {absent[0]!r}", hint="the model needs every feature it was trained with")
        if table.num_rows == 0:
            yield _named(described["parameters"], {output["name"]: {"data": []} for output in described["outputs"]}, 0)
        for start in range(0, table.num_rows, BATCH):
            part = table.slice(start, BATCH)
            inputs = [_tensor(item, part) for item in described["inputs"]]
            outputs = {o["name"]: o for o in self.call("POST", f"/v2/models/{model}/infer", {"inputs": inputs})["outputs"]}
            if "count" in outputs and table.num_rows > BATCH:
                raise RequestError(f"noisy counts are told of at most {BATCH} rows at once, the file has {table.num_rows}")
            yield _named(described["parameters"], outputs, part.num_rows)


def read_rows(path: Path, options: DataTable) -> pa.Table:
    """A CSV file with every cell as text, trimmed, missing cells null."""
    try:
        with path.open("rb") as file:
            names = options.header or pyarrow.csv.open_csv(file).schema.names
        table = pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(column_names=options.header),
            parse_options=pyarrow.csv.ParseOptions(delimiter=options.delimiter),
            convert_options=pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except FileNotFoundError as error:
        raise ConfigError(f"no such file: {path}", hint="check the path") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read: {str(error)[:200]}", hint="a CSV file with a header is expected") from error
    missing = pa.array(options.null_values, pa.string())
    trimmed = {name: pc.utf8_trim_whitespace(table[name]) for name in table.column_names}
    written = pa.table({n: pc.if_else(pc.is_in(v, missing), pa.scalar(None, pa.string()), v) for n, v in trimmed.items()})
    return source.as_called(written, options)


def _named(known: dict[str, Any], outputs: dict[str, Any], count: int) -> tuple[list[str], list[list[Any]]]:
    names = ["label"] if "label" in outputs else []
    found = [[label] for label in outputs["label"]["data"]] if names else [[] for _ in range(count)]
    classes = [f"p_{name}" for name in known.get("classes", [])]
    for output, columns in (("probabilities", classes), ("prediction", known.get("targets", [])), ("count", ["count"])):
        if output in outputs:
            flat, width = outputs[output]["data"], len(columns)
            if output == "probabilities":
                flat = [f"{value:.6f}" for value in flat]
            names += columns
            found = [row + flat[place * width : (place + 1) * width] for place, row in enumerate(found)]
    return names, found


def _tensor(item: dict[str, Any], part: pa.Table) -> dict[str, Any]:
    values = part[item["name"]]
    if item["datatype"] != "BYTES":
        lower = pc.utf8_lower(values)  # a column of true and false is one of numbers to the model
        values = pc.case_when(pc.make_struct(pc.equal(lower, "true"), pc.equal(lower, "false")), "1", "0", values)
        try:
            values = values.cast(pa.float64())
        except pa.ArrowInvalid as error:
            raise DataError(f"column {item['name']!r} holds text where the model needs numbers", hint=str(error)[:200]) from error
    return {"name": item["name"], "shape": [len(values)], "datatype": item["datatype"], "data": values.to_pylist()}
