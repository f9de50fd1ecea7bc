"""The gateway's client: rows of a table in, and for each of them an answer or why there is none.

    with connect(project) as client:
        found = client.predict(frame)        # pandas, polars or Arrow
        found.answers, found.rejected

A request holds some rows. Those that the gateway refuses are named by it and set aside, and the
others are asked about again; so one unknown category costs its own row.
"""

import http.client
import ssl
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
import pyarrow as pa

from casemate.controls.keys.certificates import CHAIN, KEY
from casemate.core.errors import (
    AccessDenied,
    BackendError,
    ConfigError,
    DataError,
    RequestError,
    Wrong,
)
from casemate.core.types import ColumnSchema
from casemate.serve.called import Called
from casemate.serve.cells import Cells
from casemate.serve.predictions import Answers, Predicted, Predictions, columns_of
from casemate.serve.rows import Part, Rejected, Source, of_table
from casemate.serve.values import text_of, values_of

BATCH, MOST_VALUES = 1000, 200_000
"""Rows, and values, of a request: a few megabytes of JSON."""
TIMEOUT = 60.0
"""Seconds for an answer. A judgement."""
MOST_WAITS, LONGEST_WAIT = 10, 60.0
"""How often, and how many seconds at most, a gateway may put off a request before that is the
caller's affair.
"""
MOST_SPLITS = 64
"""Of a part whose rows a model cannot answer and does not name: one row among a thousand
takes ten.
"""
ROW, REQUEST, REQUEST_ROW = "row", "request", "request_row"


class _Described(msgspec.Struct):
    """As much of a model's metadata as is needed here."""

    inputs: list[dict[str, Any]]
    outputs: list[dict[str, Any]]
    parameters: dict[str, Any]


class _Refusal(msgspec.Struct):
    error: str = ""
    code: str = ""
    rows: list[Wrong] = []


MOST_NAMED = 20
"""Columns that one message names."""
NEEDED = "the model needs every feature it was trained with"
AWAY = (
    "start it with `casemate serve`; --url says where it is when it is not at [serve] host and port"
)


class GatewayRefusal(RequestError):
    """The gateway refused a request, and perhaps said for which rows."""

    code = "CM-GATEWAY"

    def __init__(self, status: int, said: _Refusal) -> None:
        super().__init__(f"the gateway answered {status}: {said.error[:300]}", rows=said.rows)
        self.status, self.said = status, said


class Client:
    """One connection to a gateway, to ask about one model."""

    def __init__(
        self,
        url: str,
        token: str,
        authority: Path,
        certificate: Path | None = None,
        *,
        model: str,
        missing: Sequence[str] = (),
        most_rows: int = BATCH,
        called: Called | None = None,
    ) -> None:
        """Connect lazily.

        Args:
            url: `https://host:port`.
            token: a bearer token.
            authority: the CA certificate (PEM) to trust, nothing else is.
            certificate: folder with `cert.pem` and `key.pem`, where the gateway demands one.
            model: the name that the gateway serves it under, perhaps with `@VERSION`.
            missing: texts that mean a missing value.
            most_rows: that the gateway takes in one request.
            called: reads cells as `[data.columns]` says; default: they are as the model takes them.
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
                    f"{certificate} holds no client certificate",
                    hint="casemate keys certificate issue client NAME --out DIR",
                ) from error
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._connection = http.client.HTTPSConnection(
            parts.hostname, parts.port or 443, timeout=TIMEOUT, context=context
        )
        name, _, version = model.partition("@")
        self._path = f"/v2/models/{quote(name, safe='')}" + (
            f"/versions/{quote(version, safe='')}" if version else ""
        )
        self._missing, self._most_rows = missing, most_rows
        self._called = called
        self._known: _Described | None = None
        self.noticed: Counter[str] = Counter()
        """Rows that were answered although a guard noticed them, by the guard's name."""

    @property
    def described(self) -> _Described:
        """The model's inputs and outputs, asked for once."""
        if self._known is None:
            self._known = msgspec.convert(self._call("GET", self._path)[1], _Described)
        return self._known

    @property
    def inputs(self) -> list[str]:
        """What the model takes."""
        return [item["name"] for item in self.described.inputs]

    @property
    def batch(self) -> int:
        """Rows of a request."""
        return max(1, min(BATCH, self._most_rows, MOST_VALUES // len(self.inputs)))

    @property
    def probabilities(self) -> list[str]:
        """Names of the columns that hold probabilities."""
        known = self.described.parameters
        return [f"p_{name}" for name in known.get("labels") or known.get("classes", [])]

    @property
    def texts(self) -> list[str]:
        """Names of the columns that hold classes."""
        return [] if self.targets else self.described.parameters.get("labels") or ["label"]

    @property
    def targets(self) -> list[str]:
        """What a regressor predicts; none: it is a classifier."""
        return list(self.described.parameters.get("targets", []))

    def names(self) -> list[str]:
        """Columns of an answer about no rows."""
        offered: dict[str, Any] = {
            output["name"]: {"data": []} for output in self.described.outputs
        }
        return list(columns_of(self.described.parameters, offered))

    def predict(self, table: Any) -> Predictions:
        """The model's answers for a table in memory.

        Args:
            table: pandas, polars or Arrow, with the model's inputs by name; other columns are not
                sent.

        Raises:
            DataError: an input is not among the columns. AccessDenied, RequestError, BackendError:
                the gateway refuses, or is away.
        """
        rows: list[pa.Table] = []
        rejected: list[Rejected] = []
        for found in self.stream(of_table(table, self.batch)):
            rejected += found.rejected
            for one in found.answers:
                count = len(next(iter(one.columns.values())))
                own = {} if one.counts else {ROW: one.numbers}
                places = {} if one.counts else {REQUEST_ROW: list(range(len(one.numbers)))}
                rows.append(
                    pa.table({**own, **one.columns, REQUEST: [one.request] * count, **places})
                )
        return Predictions(
            (
                pa.concat_tables(rows)
                if rows
                else pa.table({name: [] for name in (ROW, *self.names(), REQUEST, REQUEST_ROW)})
            ),
            rejected,
        )

    def stream(self, source: Source) -> Iterator[Predicted]:
        """The same for one part of a table after the other."""
        there = source.types if self._called is None else self._called.names(list(source.types))
        absent = [name for name in self.inputs if name not in there]
        if absent:
            named = ", ".join(map(repr, absent[:MOST_NAMED])) + (
                f" and {len(absent) - MOST_NAMED} more" if len(absent) > MOST_NAMED else ""
            )
            raise DataError(f"the file has no column {named}", hint=NEEDED)
        cells = {item["name"]: self._cells(item) for item in self.described.inputs}
        if self._called is not None:
            self._called = self._called.with_commas(
                [name for name, reader in cells.items() if reader.column.type == "number"]
            )
        part = next(source.parts, None)
        first = True
        while part is not None:
            answers, rejected = self._about(part, cells)
            further = next(source.parts, None)
            if any(one.counts for one in answers) and not (first and further is None):
                raise RequestError(
                    f"noisy counts are told of at most {self.batch} rows at once, the table has"
                    " more"
                )
            yield Predicted(
                part, answers, sorted([*part.rejected, *rejected], key=lambda one: one.row)
            )
            part, first = further, False

    def _cells(self, item: dict[str, Any]) -> Cells:
        return Cells(
            ColumnSchema(
                name=item["name"], type="category" if item["datatype"] == "BYTES" else "number"
            ),
            self._missing,
        )

    def _about(self, part: Part, cells: dict[str, Cells]) -> tuple[list[Answers], list[Rejected]]:
        """Ask about a part, without its bad rows."""
        values: dict[str, list[Any]] = {}
        given, unread = (
            (part.columns, {}) if self._called is None else self._called.read(part.columns)
        )
        rejected = {
            place: self._rejected(part, place, name, why) for place, (name, why) in unread.items()
        }
        for name, reader in cells.items():
            values[name], wrong = values_of(reader, given[name])
            for place, why in wrong.items():
                rejected.setdefault(place, self._rejected(part, place, name, why))
        answers: list[Answers] = []
        waiting = [[place for place in range(len(part.numbers)) if place not in rejected]]
        splits = 0
        while waiting:
            places = waiting.pop()
            if not places:
                continue
            try:
                answers.append(self._asked(part, places, values))
            except GatewayRefusal as refused:
                wrong_rows = {
                    places[one.row]: one for one in reversed(refused.rows) if one.row < len(places)
                }
                if wrong_rows:
                    rejected |= {
                        place: self._rejected(part, place, one.input, one.why)
                        for place, one in wrong_rows.items()
                    }
                    waiting.append([place for place in places if place not in wrong_rows])
                elif len(places) == 1 and _about_rows(refused):
                    rejected[places[0]] = self._rejected(part, places[0], "", refused.said.error)
                elif _about_rows(refused) and splits < MOST_SPLITS:
                    splits += 1
                    waiting += [places[len(places) // 2 :], places[: len(places) // 2]]
                else:
                    raise
        return answers, [rejected[place] for place in sorted(rejected)]

    def _asked(self, part: Part, places: list[int], values: dict[str, list[Any]]) -> Answers:
        kinds = {item["name"]: item["datatype"] for item in self.described.inputs}
        tensors = [
            {
                "name": name,
                "shape": [len(places)],
                "datatype": kinds[name],
                "data": [column[place] for place in places],
            }
            for name, column in values.items()
        ]
        headers, reply = self._call("POST", f"{self._path}/infer", {"inputs": tensors})
        outputs = {output["name"]: output for output in reply["outputs"]}
        self.noticed.update(
            {
                name: count
                for name, count in reply.get("parameters", {}).items()
                if isinstance(count, int)
            }
        )
        numbers, columns = (
            [part.numbers[place] for place in places],
            columns_of(self.described.parameters, outputs),
        )
        return Answers(numbers, places, headers["x-request-id"], columns, "count" in outputs)

    def _rejected(self, part: Part, place: int, name: str, why: str) -> Rejected:
        value = "" if name not in part.columns else text_of(part.columns[name][place]) or ""
        return Rejected(
            part.numbers[place], None if part.lines is None else part.lines[place], name, value, why
        )

    def _call(self, method: str, path: str, body: Any = None) -> tuple[Any, Any]:
        """(headers, what the gateway says); what it puts off is asked again when it says.

        Raises:
            AccessDenied, GatewayRefusal, BackendError: it refuses, or is away.
        """
        content = None if body is None else msgspec.json.encode(body)
        for waits in range(MOST_WAITS + 1):
            status, headers, answer = self._exchange(method, path, content)
            wait = headers.get("retry-after", "")
            if (
                status not in (429, 503)
                or not wait.isdigit()
                or float(wait) > LONGEST_WAIT
                or waits == MOST_WAITS
            ):
                break
            time.sleep(float(wait))
        if status in (401, 403):
            raise AccessDenied(
                f"the gateway refused the token ({status})", hint="`casemate access token create`"
            )
        if status == 200:
            return headers, msgspec.json.decode(answer)
        try:
            said = msgspec.json.decode(answer, type=_Refusal)
        except msgspec.MsgspecError:
            said = _Refusal(answer[:300].decode(errors="replace"))
        raise GatewayRefusal(status, said)

    def _exchange(self, method: str, path: str, content: bytes | None) -> tuple[int, Any, bytes]:
        try:
            self._connection.request(method, path, content, self._headers)
            reply = self._connection.getresponse()
            return reply.status, reply.headers, reply.read()
        except (OSError, http.client.HTTPException) as error:
            raise BackendError(f"no gateway answers at {self._url}: {error}", hint=AWAY) from error

    def close(self) -> None:
        """Close the connection to the gateway."""
        self._connection.close()


def _about_rows(refused: GatewayRefusal) -> bool:
    """Whether other rows may be answered though these are not."""
    return refused.status == 422 or refused.said.code == "CM-MODEL"
