"""The job that a coordinator's options and code make, as its sites will see it."""

from msgspec import structs

from casemate.controls.federation.cards import Charter, limits_of
from casemate.controls.federation.messages import Job
from casemate.core.errors import ConfigError
from casemate.ml.federated import drawn, rules
from casemate.ml.federated.simulation import EXACT, Design
from casemate.ml.federated.trees import ESTIMATORS, Growth
from casemate.operations.federated.judging import NETWORK
from casemate.operations.federated.learning import most_rounds
from casemate.stages.train import global_model
from casemate.stages.train.described import Described
from casemate.stages.train.training_code import code_of, digest_of
from casemate.wiring import Wiring


def entry_of(project: Wiring, charter: Charter) -> global_model.Entry:
    """The code that says what is trained, whatever was imported before."""
    config = structs.replace(
        project.config, train=structs.replace(project.config.train, model=None)
    )
    return global_model.Entry(
        name=config.train.entry,
        code=code_of(project.root, config),
        columns=charter.columns,
        limits=limits_of(charter.columns),
        seed=config.train.seed,
    )


def job_of(
    project: Wiring,
    charter: Charter,
    design: Design,
    epsilon: float | None,
    entry: global_model.Entry,
    said: Described,
) -> Job:
    """The job that these options make; without its id.

    Raises:
        ConfigError: the rule is not one of the model, or no noise covers what it sums.
    """
    columns, by_sums = charter.columns, design.rule == EXACT
    if columns.regression:
        design.require_sums("learn a quantity")
    if said.estimator in ESTIMATORS:
        design.require_sums("grow boosted trees")
    if said.estimator == NETWORK and by_sums:
        raise ConfigError("a network has no sums that say all", hint="--rule fedavg")
    plan = design.plan if by_sums else rules.RULES[design.rule]().plan(design.plan)
    if by_sums and epsilon:
        drawn.require_covered(said.estimator)
        plan = drawn.planned(plan, Growth.of(said.settings), epsilon, project.config.privacy.delta)
    sums = most_rounds(said, columns, entry.limits, noisy=plan.sigma > 0) if by_sums else 0
    return Job(
        id="",
        charter=charter.digest,
        entry=entry.name,
        code=entry.code,
        code_digest=digest_of(entry.code),
        estimator=said.estimator,
        layout=said.layout,
        settings=said.settings,
        limits=entry.limits,
        rule=design.rule,
        combine=design.combine,
        plan=plan,
        rounds=sums or design.rounds,
        masked=design.masked,
        groups=design.groups,
        epsilon=epsilon or 0.0,
        delta=project.config.privacy.delta,
        seed=entry.seed,
        versions={},
        begun="",
    )
