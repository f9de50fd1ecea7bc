"""How a model was judged, and where it came from."""

from casemate.core.types.record import Finding, Outcome, Record


class GateResult(Record, frozen=True, kw_only=True):
    """What one gate said of a model: what was measured, what was asked for, and what came of it."""

    gate: str
    """Name in `[gates]`."""
    outcome: Outcome
    """`inconclusive` blocks like `refused`."""
    value: float | None
    """Measured figure."""
    limit: str
    """The limit in words."""
    reason: str
    """Why, in one sentence."""
    waiver: str = ""
    """Who lets the model pass all the same, until when and why."""
    low: float | None = None
    """Lower end of the figure's 95 % interval: what counts against a least value. None in older
    records, and where there is none.
    """
    high: float | None = None
    """Upper end: what counts against a greatest value."""


class Waived(Record, frozen=True, kw_only=True):
    """One gate that somebody lets a model pass without."""

    gate: str
    """Name in `[gates]`."""
    until: str
    """When it ends, ISO 8601 UTC."""
    by: str
    """Principal who waives."""
    reason: str
    """Why."""


class Verdict(Record, frozen=True, kw_only=True):
    """The answer of all gates together."""

    outcome: Outcome
    """`passed` only if every gate passed."""
    gates: list[GateResult]
    """Every gate with its reason."""

    @property
    def reasons(self) -> list[str]:
        """Reasons of the gates that did not pass and that nobody waived."""
        return [gate.reason for gate in self.gates if gate.outcome != "passed" and not gate.waiver]


class Lineage(Record, frozen=True, kw_only=True):
    """Where a model came from."""

    run: str
    dataset: str
    dataset_version: str
    source_digest: str
    code_digest: str
    config_digest: str
    environment_digest: str
    train_digest: str
    assess_digest: str
    federation: str = ""
    """Digest of the record of the rounds in which several owners learnt it; else empty."""
    whole_table: str = ""
    """Which rows were looked at beyond a declared sample that was learnt from; else empty."""


class Release(Record, frozen=True, kw_only=True):
    """Result of the release stage."""

    model: str
    """Model name."""
    model_version: int
    """Version in the registry."""
    verdict: Verdict
    """The gates' answer."""
    lineage: Lineage
    """Where the model came from."""
    files: dict[str, str]
    """Object digests by path inside the model folder."""
    bundle: str | None
    """Object digest of the OpenSSF model-signing bundle; None when refused."""
    findings: list[Finding] = []
    """What was seen while judging: attacks that no gate looks at."""
