"""Where models came from, as causes of incidents need it."""

from casemate.core.errors import Error
from casemate.respond.causes import Origin
from casemate.wiring import Wiring


class Lineages:
    """Looks each model up once: a released version stays as it is."""

    def __init__(self, project: Wiring) -> None:
        self._project = project
        self._known: dict[str, Origin | None] = {}
        self._live: dict[str, str] | None = None

    def origin(self, model: str) -> Origin | None:
        """See `causes.Lineages`."""
        reference = model if "@" in model else self._served().get(model, model)
        if reference not in self._known:
            self._known[reference] = self._read(reference)
        return self._known[reference]

    def _read(self, reference: str) -> Origin | None:
        try:
            release = self._project.registry.get(reference).release
        except Error:  # nobody knows such a model, or it does not pass
            return None
        lineage = release.lineage
        return Origin(
            reference=f"{release.model}@{release.model_version}",
            run=lineage.run,
            dataset=lineage.dataset,
            version=lineage.dataset_version,
            source=lineage.source_digest,
        )

    def served(self) -> list[str]:
        """See `causes.Lineages`."""
        return sorted(self._served().values())

    def _served(self) -> dict[str, str]:
        if self._live is None:
            released = self._project.rollouts.all()
            self._live = {one.model: one.reference for one in released if one.part == "live"}
        return self._live
