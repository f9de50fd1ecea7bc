"""Sites in one process, over this project's own table and model."""

import dataclasses

from msgspec import structs

from casemate import pipeline
from casemate.core.sandbox.run import Worker
from casemate.core.types import NoiseUnit
from casemate.ml.federated.local import LocalPlan
from casemate.operations.acting import operation
from casemate.operations.runs import run_context
from casemate.stages.assess.names import SCREENS
from casemate.stages.data.stage import examine
from casemate.stages.train import federation
from casemate.stages.train.federation import Federation
from casemate.stages.train.sharing import Parts
from casemate.supply.context import Reporter
from casemate.supply.processes import SandboxPool
from casemate.wiring import Wiring

ACTION = "federation:simulate"


@operation("run:start")
def simulate(
    project: Wiring,
    *,
    sites: int = 10,
    rounds: int = 10,
    split: str = "iid",
    rule: str = "fedavg",
    combine: str = "mean",
    liars: int | None = None,
    mixed: bool = False,
    bucket: int = 1,
    remembers: bool = False,
    attack: str = "",
    share: float = 1.0,
    epochs: int = 1,
    batch: int = 32,
    rate: float = 0.1,
    momentum: float = 0.0,
    calibrate: float = 0.0,
    masked: bool = False,
    groups: int = 1,
    drop_out: str = "",
    epsilon: float | None = None,
    unit: NoiseUnit = "subject",
    reporter: Reporter | None = None,
) -> Federation:
    """What sites would learn together that had the project's training rows among them.

    The table is read and divided as a run would, and not screened; the hold-out stays unseen.
    Nothing is sealed, signed or registered.

    Args:
        project: its project.
        sites: how many there are.
        rounds: how often they are asked.
        split: `iid`, `dirichlet:NUMBER` or `by:COLUMN`.
        rule: `fedavg`, `fedprox`, `scaffold`, `fedavgm`, `fedadam` or `exact`.
        combine: how one update is made of the sites': `mean`, `median`, `trimmed-mean`, `krum`,
            `multi-krum`, `centred-clipping` or `norm-bound`.
        liars: sites that this reckons with; default: those of the attack.
        mixed: what is combined are means of neighbouring updates, for sites that differ.
        bucket: sites, drawn anew each round, whose mean is looked at together; 1: each alone.
        remembers: leave out sites, at most as many as may lie, whose updates over all rounds so far
            undo what the others do.
        attack: `KIND:N`, of N sites: `signflip`, `boost`, `noise`, `nan` or `labelflip`.
        share: of the sites that a round asks, up to 1.
        epochs: passes over a site's rows in a round.
        batch: rows a step.
        rate: learning rate of a site.
        momentum: of a site.
        calibrate: so many times the logarithm of its share in a site's rows is added to the score
            of each class in the site's loss, for sites that have classes in unlike shares.
        masked: updates are summed under masks, and only sums are seen.
        groups: of sites that are summed apart, so that `combine` has something to look at.
        drop_out: `STEP:N`, of N sites of each group that fall silent before `share`, `mask`,
            `agree` or `reveal` in each round.
        epsilon: of each site in all rounds together, at `[privacy] delta`; None: no noise.
        unit: whom noise covers, a `subject` (a row, where there are no subjects) or a whole `site`.
        reporter: hears how it goes.

    Raises:
        AccessDenied: policy does not permit runs. ConfigError: the options do not fit together, or
            the table. DataError, TrainingError: as in a run.
    """
    acting = simulate.ask(project, unrecorded=True)
    plan = LocalPlan(
        epochs=epochs,
        batch=batch,
        rate=rate,
        momentum=momentum,
        calibrated=calibrate,
        unit=unit,
    )
    design = federation.designed(
        plan,
        sites=sites,
        rounds=rounds,
        rule=rule,
        combine=combine,
        liars=liars,
        mixed=mixed,
        bucket=bucket,
        remembers=remembers,
        attack=attack,
        share=share,
        seed=project.config.train.seed,
        masked=masked,
        groups=groups,
        drop_out=drop_out,
        epsilon=epsilon,
        privacy=project.config.privacy,
    )
    context = run_context(project, reporter)
    tools = pipeline.data_tools(context)
    screen = structs.replace(tools.config.screen, **dict.fromkeys(SCREENS, False))
    config = structs.replace(tools.config, screen=screen)
    tools = dataclasses.replace(tools, config=config, leaks=False)
    found = examine(tools)
    parts = Parts(
        found.table.filter(~found.holdout & ~found.excluded),
        found.schema,
        project.config.data.subject,
    )
    with Worker(SandboxPool.FEDERATE, project.config.train.threads) as worker:
        told = federation.simulate(
            federation.Tools(
                context.root,
                context.config,
                context.state / "tmp",
                context.hidden,
                worker,
                context.reporter.progress,
            ),
            parts,
            split,
            sites,
            design,
        )
    acting.record(
        ACTION,
        f'Project::"{project.config.project.id}"',
        sites=sites,
        split=split.partition(":")[0],
        rule=design.rule,
        rounds=len(told.found.rounds),
    )
    return told
