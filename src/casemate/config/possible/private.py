"""What private training leaves no room for."""

from casemate.config.figures import (
    ON_TRAINING_ROWS,
)
from casemate.config.screen import ScreenTable
from casemate.config.whole import Config


def impossible_private(config: Config) -> list[str]:
    """What reads training rows before the noise, or tells something of them afterwards; each is
    refused before anything is spent.
    """
    if config.train.mode != "private":
        return []
    problems = []
    if config.train.split == "ordered":
        problems.append(
            "[train] split: where the newest share begins depends on how many rows there are;"
            ' private training needs "random"'
        )
    if config.data.sample is not None:
        problems.append(
            "[data] sample: which rows are drawn depends on how many there are, so that one more"
            " changes many; take it out, or hand over a sample as the table"
        )
    if config.screen.quarantine == "exclude" or config.screen.exclude not in (
        [],
        ScreenTable().exclude,
    ):
        problems.append(
            "[screen] quarantine, exclude: a row that is left out for what the others look like"
            " tells of them; private training reports only"
        )
    if config.serve.guard.unusual == "refuse":
        problems.append(
            "[serve.guard] unusual: a private model says nothing of what training rows are like;"
            ' set "flag", limits are declared'
        )
    figures = sorted(name for name in config.gates if name in ON_TRAINING_ROWS)
    limit = f"epsilon = {{ max = {config.privacy.epsilon:g} }}"
    instead = "" if "epsilon" in config.gates else f", and write `{limit}` in its place"
    problems += [
        f"[gates] {name}: training rows decide it, and private training tells nothing of them:"
        f" delete that line{instead}"
        for name in figures
    ]
    if config.privacy.rows is not None and config.privacy.rows * (1 - config.train.test_share) < 1:
        problems.append("[privacy] rows: none is left to train on")
    return problems
