"""What a site lets itself be asked: a job, a question, a moment, each held against the charter that
was approved here and what `[federate]` says. A job says what it wants; it does not say what it may.
"""

import datetime
import math
from pathlib import PurePosixPath
from typing import NamedTuple

from casemate.config import FederateTable, PrivacyTable
from casemate.controls.federation.cards import Charter, limits_of
from casemate.controls.federation.messages import VERSION, Job, What
from casemate.core.errors import ConfigError, RefusedError
from casemate.ml.federated import exact, masking, robust, rules, simulation
from casemate.ml.federated.bins import counts_size
from casemate.ml.federated.learners import LinearLearner
from casemate.ml.federated.local import POSSIBLE, noisy_sums
from casemate.ml.federated.trees import CLASSIFIER, ESTIMATORS, REGRESSOR, Growth
from casemate.ml.learn.accountant import Gaussians, epsilon
from casemate.stages.train.training_code import MAX_CODE, digest_of

NETWORK = "NetworkClassifier"
QUANTITIES = ("Ridge", "LinearRegression")
MOST_FILES = 1_000
ROUNDING = 1.001
"""By which the accountants of two machines may differ, as in `stages.train.promise`."""
LEAST_NOISE = 1e-3


class SitePolicy(RefusedError):
    """A coordinator asks for what this site does not give."""

    code = "CM-SITE-POLICY"
    who = "this site's owner, who says in [federate] what may be asked; or the coordinator"


class CodeNotApproved(SitePolicy):
    """A job brings training code that nobody here has looked at."""

    code = "CM-SITE-CODE"


class Boosted(NamedTuple):
    """Boosted trees that a job asks for."""

    growth: Growth
    classes: int
    """That they tell apart; 0: a quantity."""
    apart: int
    """See `trees.Site`."""


class Judged(NamedTuple):
    """A job that this site takes."""

    job: Job
    network: bool
    """Whether its code builds the model."""
    sizes: dict[What, int]
    """What it may ask, and how many numbers the answer has without masks; 0: the question says."""
    cost: Gaussians | None
    """Noise of each round's training; None: there is none."""
    boosted: Boosted | None = None
    """Of boosted trees what else is agreed."""

    @property
    def numbers(self) -> int:
        """Of the last round."""
        return self.job.rounds + (self.cost is None)

    @property
    def counts(self) -> bool:
        """Whether the first round counts the subjects too, with noise: as the plan has it, and the
        leaves of trees need none.
        """
        return self.cost is not None and self.boosted is None and self.job.plan.counts

    @property
    def delta(self) -> float:
        """That one round costs: all of them together cost the job's."""
        return self.job.delta / self.job.rounds

    def events(self, *, counts: bool) -> list[Gaussians]:
        """What a round does.

        Args:
            counts: whether it counts the subjects too; see `counts`.
        """
        if self.cost is None:
            return []
        return [Gaussians(sigma=self.cost.sigma, steps=self.cost.steps + counts)]

    def epsilon(self, *, counts: bool) -> float:
        """What that costs at `delta`."""
        return epsilon(self.events(counts=counts), self.delta)


def judged(job: Job, charter: Charter, table: FederateTable, privacy: PrivacyTable) -> Judged:
    """The job, if this site takes it.

    Args:
        job: signed by the charter's coordinator.
        charter: that was approved here.
        table: `[federate]`.
        privacy: `[privacy]`.

    Raises:
        SitePolicy: it is not taken, with what about it.
    """
    _require_same(job, charter)
    network, sizes = _model(job, charter, table)
    boosted = _boosted(job, charter, privacy) if job.estimator in ESTIMATORS else None
    _require_plan(job)
    if job.masked and job.plan.controlled:
        raise SitePolicy(
            "scaffold sends control variates beside the weights, which no mask covers",
            hint="lead with another --rule, or with --no-masked",
        )
    if table.masked and not job.masked:
        raise SitePolicy(
            "the job asks for answers without masks, and this site gives sums of several alone",
            hint="lead with --masked; or [federate] masked = false",
        )
    cost = _noise(job, table, privacy)
    _require_code(job, table)
    return Judged(job, network, sizes, cost, boosted)


def _require_same(job: Job, charter: Charter) -> None:
    if job.version != VERSION:
        raise SitePolicy(f"the job has version {job.version}; this casemate knows {VERSION}")
    if job.charter != charter.digest:
        raise SitePolicy(
            "the job is of another charter than the one that was approved here",
            hint="have the coordinator send its charter, and read it before it is approved",
        )
    if job.limits != limits_of(charter.columns):
        raise SitePolicy(
            "the job has other columns or limits than the charter",
            hint="what features are and how far they go is agreed on in the charter",
        )
    if len(job.id) != 32 or not set(job.id) <= set("0123456789abcdef"):
        raise SitePolicy("the job has no id that could be one")
    known = [simulation.EXACT, *rules.RULES]
    if job.rule not in known or job.combine not in robust.COMBINERS or job.groups < 1:
        raise SitePolicy("the job has a rule, a way to combine or groups that nobody knows")
    if charter.columns.labels or len(charter.columns.targets) > 1:
        raise SitePolicy("sites learn one target together, and the charter has several")


def _model(job: Job, charter: Charter, table: FederateTable) -> tuple[bool, dict[What, int]]:
    """(whether it is a network, sizes of what the job may ask)."""
    if job.estimator not in table.models:
        raise SitePolicy(
            f"the job trains a {job.estimator[:80]}, and this site trains"
            f" {', '.join(table.models)}",
            hint="[federate] models",
        )
    columns, width = charter.columns, job.limits.width
    sizes: dict[What, int] = {}
    if job.estimator in ESTIMATORS:
        return False, _sizes_of_trees(job, charter)
    if job.estimator != NETWORK and job.epsilon == 0:
        sizes["moments"] = 3 * len(job.limits.numbers)
    if job.estimator in QUANTITIES:
        if not columns.regression or job.rule != simulation.EXACT or job.layout.names:
            raise SitePolicy("a quantity is learnt by one sum over rows, and the job asks for else")
        sizes["gram"] = (width + 1) * (width + 2)
        return False, sizes
    if columns.regression:
        raise SitePolicy("the job trains a classifier, and the charter's target is a quantity")
    job.layout.require()
    if job.estimator == NETWORK:
        if job.rule == simulation.EXACT:
            raise SitePolicy("a network has no sums that say all")
        sizes["train"] = job.layout.size
        return True, sizes
    strength = job.settings.get("C", 1.0)
    if not 0 < strength < math.inf:
        raise SitePolicy(f"the job has a C of {strength:g}, and it is above 0")
    learner = LinearLearner(width, len(columns.classes), strength)
    if job.layout != learner.layout:
        raise SitePolicy("the job has other weights than a logistic regression on the charter")
    if job.rule == simulation.EXACT:
        sizes["sums"] = exact.flat_size(learner)
    else:
        sizes["train"] = job.layout.size
    return False, sizes


def _sizes_of_trees(job: Job, charter: Charter) -> dict[What, int]:
    columns = charter.columns
    fits = columns.regression == (job.estimator == REGRESSOR)
    if not fits or job.rule != simulation.EXACT or job.layout.names:
        raise SitePolicy("boosted trees are grown by sums over rows, and the job asks for else")
    if job.epsilon > 0:
        return {"leaves": 0}
    return {"counts": counts_size(job.limits, len(columns.classes)), "splits": 0}


def _boosted(job: Job, charter: Charter, privacy: PrivacyTable) -> Boosted:
    classes = len(charter.columns.classes)
    try:
        growth = Growth.of(job.settings)
        if job.epsilon > 0:  # nothing is told of a node that noise does not cover
            return Boosted(growth, classes, 0)
        growth.require_size(job.limits, classes)
    except ConfigError as error:
        raise SitePolicy(f"the job's trees are none: {error.message}", hint=error.hint) from error
    if growth.least < privacy.min_group:
        raise SitePolicy(
            f"the job's trees have leaves of {growth.least} rows, and this site tells nothing of"
            f" fewer than {privacy.min_group}",
            hint="a larger min_samples_leaf in the coordinator's train.py",
        )
    # without masks the coordinator sees what this site says of a node
    return Boosted(growth, classes, 0 if job.masked else privacy.min_group)


def _require_plan(job: Job) -> None:
    numbers = {"rounds": job.rounds, **{name: getattr(job.plan, name) for name in POSSIBLE}}
    for name, (low, high) in {"rounds": (1, simulation.MOST_ROUNDS), **POSSIBLE}.items():
        if not low <= numbers[name] <= high:  # NaN is not
            raise SitePolicy(f"the job's {name} is {numbers[name]:g}: {low:g} to {high:g} may be")
    if job.plan.controlled != (job.rule == rules.SCAFFOLD):
        raise SitePolicy("the job's plan is not that of its rule")
    noisy = job.epsilon > 0 or job.plan.sigma > 0
    if job.plan.unit == "site" and not noisy:
        raise SitePolicy("the job says whom noise covers, and has no noise")
    if job.plan.calibrated and noisy and job.plan.unit != "site":
        raise SitePolicy("the job wants noise, and steps by shares of classes that it cannot cover")


def _noise(job: Job, table: FederateTable, privacy: PrivacyTable) -> Gaussians | None:
    """What a round's training costs; None: the job has no noise."""
    noisy = job.epsilon > 0 or job.plan.sigma > 0
    if table.noise and not noisy:
        raise SitePolicy(
            "the job asks for answers without noise, and this site gives none",
            hint="lead with --epsilon; or [federate] noise = false",
        )
    if not noisy:
        return None
    grown, whole = job.estimator == CLASSIFIER, job.plan.unit == "site"
    if table.noise_unit == "site" and not whole:
        raise SitePolicy(
            "the job's noise covers a row or subject, and this site wants it to cover all its rows",
            hint='lead with --unit site; or [federate] noise_unit = "subject"',
        )
    if grown and whole:
        raise SitePolicy("the job wants noise over whole sites, and trees are sums over subjects")
    if job.rule == rules.SCAFFOLD or (job.rule == simulation.EXACT and not grown):
        raise SitePolicy("the job wants noise on what no noise covers: whole sums, or controls")
    if grown and job.plan.epochs != 1:
        raise SitePolicy("the job wants several passes, and each tree is one sum over rows")
    if not 0 < job.delta <= privacy.delta or not job.plan.sigma >= LEAST_NOISE:
        raise SitePolicy(
            f"the job's delta is {job.delta:g} and its noise {job.plan.sigma:g}; delta is at most"
            f" {privacy.delta:g} here",
            hint="[privacy] delta",
        )
    sums = job.rounds if grown else noisy_sums(job.plan, job.rounds)
    told = Gaussians(sigma=job.plan.sigma, steps=sums)
    found = epsilon([told], job.delta)
    if not found <= job.epsilon * ROUNDING:
        raise SitePolicy(
            f"the job says that it costs epsilon {job.epsilon:g}, and its noise costs {found:.3f}",
            hint="do not answer a coordinator that says less than it spends",
        )
    cost = Gaussians(sigma=job.plan.sigma, steps=job.plan.sums)
    dearest = Gaussians(sigma=cost.sigma, steps=cost.steps + (job.plan.counts and not grown))
    each = epsilon([dearest], job.delta / job.rounds)
    if each > table.epsilon_round:
        raise SitePolicy(
            f"a round of the job costs epsilon {each:.3f}, and {table.epsilon_round:g} may be spent"
            " in one here",
            hint="more rounds with more noise; or [federate] epsilon_round",
        )
    return cost


def _require_code(job: Job, table: FederateTable) -> None:
    """Nothing; last of all, so that what is laid down to be read comes from whom this site hears.

    Raises:
        CodeNotApproved: the code's digest is not among those that may run.
        SitePolicy: the files are not what the job says, or no files that a project has.
    """
    sizes = [len(content) for content in job.code.values()]
    if len(sizes) > MOST_FILES or sum(sizes) > MAX_CODE:
        raise SitePolicy(
            f"the job's code is more than {MAX_CODE // 2**20} MiB or {MOST_FILES} files"
        )
    strange = next((name for name in job.code if not is_plain(name)), None)
    if strange is not None:
        raise SitePolicy(f"the job's code has a file {strange[:80]!r}, which lies in no project")
    if job.entry.partition(":")[0] not in job.code:
        raise SitePolicy("the job's entry is not among its code")
    digest = digest_of(job.code)
    if digest != job.code_digest:
        raise SitePolicy(
            "the job's code is not what the job says that it is",
            hint="do not answer a coordinator that names other code than it sends",
        )
    if digest not in table.code:
        raise CodeNotApproved(
            f"the job brings training code that may not run here: {digest}",
            hint="read it, then add the digest to [federate] code",
        )


def is_plain(name: str) -> bool:
    """Whether a file of a job lies within a project's folder, by a name that says where."""
    path = PurePosixPath(name)
    return (
        bool(path.parts)
        and not path.is_absolute()
        and str(path) == name
        and not {"..", "."} & set(path.parts)
        and name.isprintable()
        and len(name) <= 200
        and "\\" not in name
    )


def require_moment(table: FederateTable, now: datetime.datetime, answered: int) -> None:
    """Nothing.

    Args:
        table: `[federate]`.
        now: with a zone.
        answered: rounds in the 24 hours before.

    Raises:
        SitePolicy: nothing is answered now.
    """
    if not table.is_open(now):
        raise SitePolicy(
            f"this site answers from {table.hours} (UTC)", hint="[federate] hours, or wait"
        )
    if answered >= table.rounds_a_day:
        raise SitePolicy(
            f"this site has answered {answered} rounds within 24 hours",
            hint="[federate] rounds_a_day, or wait",
        )


def least_of(table: FederateTable) -> int:
    """Sites that a sum under masks must be of."""
    return max(table.least_sites, masking.LEAST_MEMBERS)
