"""Says before training starts that what the data stage found will refuse the model."""

from typing import TYPE_CHECKING, Any

from casemate.core.progress import Lines
from casemate.stages.release.remedies import remedies

if TYPE_CHECKING:
    from casemate.operations.project import Project


class Foreteller(Lines):
    """Lines of a run, and behind those of the data stage what is bound to refuse it: training and
    attacks take minutes.
    """

    def __init__(self, project: "Project", quiet: bool = False) -> None:
        super().__init__(quiet)
        self.project = project

    def stage(self, name: str, record: Any) -> None:
        """See `supply.context.Reporter`."""
        super().stage(name, record)
        config = self.project.config
        if name != "data" or config.train.mode == "private" or self._waived():
            return
        count = sum(finding.severity == "high" for finding in record.findings)
        if count:
            what = "a finding" if count == 1 else f"{count} findings"
            self.say(
                f"THIS RUN WILL BE REFUSED for {what} of the data stage; it goes on, Ctrl-C stops"
                " it, and this is what helps:"
            )
            for text in remedies(record.findings, record.schema, config):
                self.say("  " + text.replace("\n", "\n  "))

    def _waived(self) -> bool:
        return any(
            waiver.gate == "findings"
            for waiver in self.project.waivers.in_force(self.project.config.project.name)
        )
