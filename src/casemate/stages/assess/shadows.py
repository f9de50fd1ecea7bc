"""Inside a helper's sandbox: shadow models of another process's assessment."""

from typing import Any

from casemate.core.sandbox.child import Channel, Watch
from casemate.core.sandbox.helpers import packed
from casemate.ml.learn.binning import allow_empty_columns
from casemate.stages.assess.leakage.lira import Drawn
from casemate.stages.assess.work import Work

allow_empty_columns()


def main(job: dict[str, Any], channel: Channel, watch: Watch) -> dict[str, Any]:
    """Train the shadows `job["tasks"]`; the rest of the job is what `worker.main` was given."""
    work = Work(job, channel)
    work.set_apart(watch)
    drawn = Drawn.of(work.members, work.holdout, work.options, work.seed)
    return {
        "answers": [
            {"shadow": packed(drawn.shadow(work.learner, int(task["shadow"])))}
            for task in job["tasks"]
        ]
    }
