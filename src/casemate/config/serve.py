"""`[serve]`: the gateway."""

from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.canary import CanaryTable
from casemate.config.guard import GuardTable, OutputsTable
from casemate.config.limits import AggregateTable, LimitsTable
from casemate.config.offered import OfferedTable
from casemate.config.privacy import Day
from casemate.config.table import MOST_MB, MOST_MINUTES, MOST_SECONDS, Count, Days


class ServeTable(OfferedTable, frozen=True, kw_only=True):
    """The prediction gateway."""

    client_certificates: Annotated[
        Literal["none", "require"],
        Meta(
            description=(
                "`require`: only clients with a valid certificate of the project's own authority"
                " may connect."
            )
        ),
    ] = "none"
    max_body_mb: Annotated[
        float, Meta(description="Largest request body in MiB.", gt=0, le=MOST_MB)
    ] = 8.0
    max_rows: Annotated[Count, Meta(description="Most rows in one request.")] = 10_000
    extra: Annotated[
        Literal["ignore", "refuse"],
        Meta(
            description=(
                "Inputs that the model does not take, identifiers among them: `ignore` neither uses"
                " nor keeps them."
            )
        ),
    ] = "ignore"
    tls: Annotated[
        Literal["own", "proxy"],
        Meta(
            description=(
                "`proxy`: plain HTTP, for a TLS proxy or a platform in front that nobody can go"
                " around."
            )
        ),
    ] = "own"
    platform: Annotated[
        Literal["none", "sagemaker"],
        Meta(
            description=(
                "`sagemaker`: also its contract, as `casemate serve --sagemaker` sets it; see"
                " docs/how-to/serve.md."
            )
        ),
    ] = "none"
    workers: Annotated[int, Meta(description="Processes that share the port.", ge=1, le=64)] = 1
    audit: Annotated[
        Literal["durable", "batched"],
        Meta(
            description=(
                "`durable`: an answer leaves when its record is on disk; `batched`: records follow"
                " within 0.2 s, which a crash can lose."
            )
        ),
    ] = "durable"
    inputs: Annotated[
        Literal["digest", "sealed"],
        Meta(description="What is kept of the rows that were asked about."),
    ] = "digest"
    keep_days: Annotated[Days, Meta(description="Days that records of predictions are kept.")] = 400
    gpc: Annotated[
        Day | Literal[""],
        Meta(
            description=(
                "Since which day the gateway heeds Global Privacy Control (header `Sec-GPC`) and"
                " says so at `/.well-known/gpc.json`; empty: it does not."
            )
        ),
    ] = ""
    sells: Annotated[
        list[str],
        Meta(
            description=(
                "Purposes that are sale or sharing of personal information (Cal. Civ. Code"
                " 1798.140): where `[project] purpose` is one of them, a request with `Sec-GPC: 1`"
                " is refused, and whom it names has opted out."
            )
        ),
    ] = []
    inputs_days: Annotated[Days, Meta(description="Days that sealed rows are kept.")] = 30
    deadline: Annotated[
        float,
        Meta(
            description="Seconds after which an answer is not given any more.",
            gt=0,
            le=MOST_SECONDS,
        ),
    ] = 10.0
    max_waiting: Annotated[
        int,
        Meta(
            description=(
                "Requests that a worker holds at once; what comes on top is told to come again."
            ),
            ge=1,
        ),
    ] = 1000
    stuck: Annotated[
        float,
        Meta(
            description=(
                "Seconds, beyond ten times what it usually takes, after which a model or a stopped"
                " worker stands still."
            ),
            ge=0.5,
            le=MOST_SECONDS,
        ),
    ] = 5.0
    keep_alive: Annotated[
        float,
        Meta(description="Seconds that a caller's connection may be idle.", ge=1, le=MOST_SECONDS),
    ] = 75.0
    max_connections: Annotated[
        int,
        Meta(
            description=(
                "Callers' connections to a worker; fewer where it may not open so many files."
            ),
            ge=1,
        ),
    ] = 12_000
    strangers: Annotated[
        int,
        Meta(
            description=(
                "Connections to a worker on which nobody has shown yet who it is; they have room of"
                " their own."
            ),
            ge=1,
        ),
    ] = 1000
    strangers_per_address: Annotated[
        int,
        Meta(
            description=(
                "How many of these one address may have (IPv6: one network of 64 bits); with tls ="
                ' "proxy" as many as all.'
            ),
            ge=1,
        ),
    ] = 200
    verify_minutes: Annotated[
        float,
        Meta(description="How often served models are verified again.", gt=0, le=MOST_MINUTES),
    ] = 10.0
    request_log: Annotated[
        str,
        Meta(
            description=(
                "File that takes one line of JSON a request, without rows and answers; `-`:"
                " standard output."
            )
        ),
    ] = ""
    traces: Annotated[
        str,
        Meta(
            description=(
                "URL of an OpenTelemetry collector (OTLP over HTTP, `…/v1/traces`); needs"
                " `casemate[traces]`."
            )
        ),
    ] = ""
    traces_share: Annotated[
        float,
        Meta(
            description=(
                "Share of the requests that are traced, of those whose caller did not decide."
            ),
            ge=0,
            le=1,
        ),
    ] = 1.0
    guard: Annotated[GuardTable, Meta(description="How inputs are guarded.")] = GuardTable()
    outputs: Annotated[OutputsTable, Meta(description="What callers are told.")] = OutputsTable()
    aggregates: Annotated[AggregateTable, Meta(description="What noisy counts give away.")] = (
        AggregateTable()
    )
    limits: Annotated[LimitsTable, Meta(description="What callers may use.")] = LimitsTable()
    canary: Annotated[CanaryTable, Meta(description="When a canary is taken back.")] = CanaryTable()


def impossible_serve(table: ServeTable) -> list[str]:
    """What of `[serve]` contradicts itself."""
    if table.release and not table.trusted:
        return ["[serve] release: whose signature counts? name its owner's keys in [serve] trusted"]
    return []
