"""`[incidents]`: when alerts become an incident, and how fast people are to be."""

from typing import Annotated, Literal

from msgspec import Meta

from casemate.config.table import Table

Hours = Annotated[float, Meta(gt=0, le=8760)]
Law = Literal["gdpr", "hipaa", "ai-act", "cra"]


class AcknowledgeTable(Table, frozen=True, kw_only=True):
    """`[incidents.acknowledge_hours]`: until somebody takes an incident up."""

    critical: Annotated[Hours, Meta(description="Hours of a critical incident.")] = 0.25
    high: Annotated[Hours, Meta(description="Hours of one of high severity.")] = 1.0
    medium: Annotated[Hours, Meta(description="Hours of one of medium severity.")] = 8.0
    low: Annotated[Hours, Meta(description="Hours of one of low severity.")] = 72.0


class ContainTable(Table, frozen=True, kw_only=True):
    """`[incidents.contain_hours]`: until an incident does no more harm."""

    critical: Annotated[Hours, Meta(description="Hours of a critical incident.")] = 4.0
    high: Annotated[Hours, Meta(description="Hours of one of high severity.")] = 24.0
    medium: Annotated[Hours, Meta(description="Hours of one of medium severity.")] = 72.0
    low: Annotated[Hours, Meta(description="Hours of one of low severity.")] = 336.0


class IncidentsTable(Table, frozen=True, kw_only=True):
    """Incidents: `casemate incident`."""

    opens: Annotated[
        Literal["page", "note"],
        Meta(
            description=(
                "What opens an incident: `page`: alerts for which somebody is woken; `note`: every"
                " alert."
            )
        ),
    ] = "page"
    window_hours: Annotated[
        float,
        Meta(
            description=(
                "Hours after the last alert of an open incident in which another one of the same"
                " cause joins it; while one stands, it does in any case."
            ),
            gt=0,
            le=24 * 31,
        ),
    ] = 24.0
    acknowledge_hours: Annotated[
        AcknowledgeTable, Meta(description="By severity: until somebody takes an incident up.")
    ] = AcknowledgeTable()
    contain_hours: Annotated[
        ContainTable, Meta(description="By severity: until an incident does no more harm.")
    ] = ContainTable()
    gateways: Annotated[
        list[Annotated[str, Meta(pattern=r"^https://[^\s?#@/]+$(?!\n)")]],
        Meta(
            description=(
                "Gateways that playbooks ask whether what they did has worked, as"
                " `https://HOST:PORT`; default: `[serve]` host and port."
            )
        ),
    ] = []
    laws: Annotated[
        list[Law],
        Meta(
            description=(
                "Laws whose clocks run once somebody is aware of an incident: `gdpr`, `hipaa`,"
                " `ai-act`, `cra`."
            )
        ),
    ] = []
