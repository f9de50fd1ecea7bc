"""Made-up sites over a table of this project: what they do is decided here, and what they learn
in the sandbox (`sites`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import pyarrow as pa

from casemate.config import Config, PrivacyTable
from casemate.core.errors import ConfigError, TrainingError
from casemate.core.files import scratch_folder
from casemate.core.sandbox import conversation, failure
from casemate.core.sandbox import run as sandbox
from casemate.core.types import NoiseUnit, Record
from casemate.ml.federated import attacks, robust, rules, secure, simulation
from casemate.ml.federated.local import POSSIBLE, LocalPlan, noisy_sums
from casemate.ml.federated.masking import LEAST_MEMBERS, MOST_MEMBERS
from casemate.ml.federated.simulation import Design, Simulated
from casemate.ml.frame import with_groups
from casemate.ml.learn.accountant import sigma_for
from casemate.stages.train.answer import nonsense
from casemate.stages.train.promise import bounds_of
from casemate.stages.train.sharing import Parts, shared_out
from casemate.stages.train.sites import SITE
from casemate.stages.train.stage import explained, limits_of, must_be_confined
from casemate.stages.train.training_code import code_of
from casemate.stages.train.wishes import monotone


class Federation(Record, frozen=True, kw_only=True):
    """What was simulated, and what came of it."""

    sites: list[str]
    """Their names: numbers."""
    rows: list[int]
    """What each has."""
    held: int
    """Rows that no site has, which accuracy is measured on."""
    classes: int
    """Classes that are told apart; 0: a quantity."""
    found: Simulated
    """The rounds."""
    sigma: float | None = None
    """Noise of a site over the clip, where there is some."""


@dataclass(frozen=True)
class Tools:
    """What a simulation works with."""

    root: Path
    config: Config
    scratch: Path
    hidden: list[Path]
    worker: sandbox.Worker
    progress: conversation.Progress


def designed(
    plan: LocalPlan,
    *,
    sites: int,
    rounds: int,
    rule: str,
    combine: str,
    liars: int | None,
    attack: str,
    share: float,
    seed: int,
    mixed: bool = False,
    bucket: int = 1,
    remembers: bool = False,
    masked: bool = False,
    groups: int = 1,
    drop_out: str = "",
    epsilon: float | None = None,
    privacy: PrivacyTable | None = None,
) -> Design:
    """What is to be simulated.

    Raises:
        ConfigError: there is no such rule, way or attack, or they do not fit together.
    """
    _one_of("--rule", rule, [*rules.RULES, simulation.EXACT])
    _one_of("--combine", combine, [*robust.COMBINERS])
    kind, attackers = _counted("--attack", attack, [*attacks.OF_UPDATES, *attacks.OF_LABELS])
    step, silent = _counted("--drop-out", drop_out, [*secure.STEPS])
    _require_numbers(
        {"--sites": sites, "--rounds": rounds, "--epochs": plan.epochs, "--batch": plan.batch,
         "--liars": liars or 0, "--bucket": bucket, "--groups": groups},
        {"--share": share, "--rate": plan.rate, "--momentum": plan.momentum,
         "--calibrate": plan.calibrated, "--epsilon": epsilon or 1.0},
    )  # fmt: skip
    within = {
        "--sites": (sites, 2, simulation.MOST_SITES),
        "--rounds": (rounds, 1, simulation.MOST_ROUNDS),
        "--epochs": (plan.epochs, *POSSIBLE["epochs"]),
        "--batch": (plan.batch, *POSSIBLE["batch"]),
        "--share": (share, 1 / max(sites, 1), 1.0),
        "--rate": (plan.rate, *POSSIBLE["rate"]),
        "--momentum": (plan.momentum, *POSSIBLE["momentum"]),
        "--calibrate": (plan.calibrated, *POSSIBLE["calibrated"]),
        "--attack": (attackers, 0, sites),
        "--liars": (attackers if liars is None else liars, 0, sites),
        "--bucket": (bucket, 1, sites),
        "--groups": (groups, 1, sites),
        "--drop-out": (silent, 0, sites),
        "--epsilon": (1.0 if epsilon is None else epsilon, 0.01, 100.0),
    }
    for name, (value, low, high) in within.items():
        if not low <= value <= high:
            raise ConfigError(f"{name}: {value:g}", hint=f"{low:g} to {high:g}")
    reckoned = attackers if liars is None else liars
    _require_unit(plan, rule, epsilon)
    uncovered = epsilon is not None and plan.unit != "site"
    if plan.calibrated and (rule == simulation.EXACT or uncovered):
        raise ConfigError(
            "--calibrate puts a site's shares of classes into its steps: "
            + (
                "the noise of --epsilon does not cover them"
                if uncovered
                else "exact sums have none"
            ),
            hint="without --calibrate" + ("; or --unit site" if uncovered else ""),
        )
    design = Design(
        rounds=rounds,
        rule=rule,
        combine=combine,
        plan=plan,
        share=share,
        liars=reckoned,
        attack=kind,
        attackers=attackers,
        seed=seed,
        mixed=mixed,
        bucket=bucket,
        remembers=remembers,
        masked=masked,
        groups=groups,
        silent=silent,
        step=step or "mask",
        epsilon=epsilon or 0.0,
    )
    if epsilon is not None:
        design = _with_noise(design, epsilon, privacy or PrivacyTable())
    if masked or groups != 1 or drop_out:
        _require_masks(design, max(1, round(share * sites)))
    if rule == simulation.EXACT:
        if kind or combine != "mean" or share != 1.0 or remembers:
            raise ConfigError(
                "--rule exact adds the sums of all sites: it knows no other way to combine, and"
                " one site that lies moves it as far as it likes",
                hint="without --combine, --remember, --share and --attack; or --rule fedavg",
            )
        return design
    _require_way(design, groups if masked else max(1, round(share * sites)))
    return design


def _require_way(design: Design, answers: int) -> None:
    """Nothing; ConfigError where what is done with so many answers does not fit together."""
    plain = design.combine == "mean"
    if design.rule == rules.SCAFFOLD and not (plain and not design.remembers):
        raise ConfigError(
            f"--combine {design.combine}{' --remember' if design.remembers else ''} judges"
            " differences of weights, and scaffold sends control variates too, which nothing"
            " judges",
            hint="--combine mean, or another rule",
        )
    if design.mixed and (plain or not design.liars):
        raise ConfigError(
            "--mix puts means of neighbours before a robust way, for some sites that may lie",
            hint="--combine trimmed-mean --liars 2, for example",
        )
    if design.bucket > 1 and (plain or design.mixed):
        raise ConfigError(
            "--bucket puts means of a few sites before a robust way, in the place of --mix",
            hint="--combine median --bucket 2, for example",
        )
    if design.remembers and (design.masked or not design.liars):
        raise ConfigError(
            "--remember leaves out sites, as many as may lie, that undid what the others do; masks"
            " hide what each does",
            hint="--liars 2, and --no-masked",
        )
    robust.require(design.combine, robust.buckets_of(answers, design.bucket), design.liars)


def _require_unit(plan: LocalPlan, rule: str, epsilon: float | None) -> None:
    """Nothing; ConfigError where there is no noise that could cover a whole site."""
    _one_of("--unit", plan.unit, list(get_args(NoiseUnit)))
    if plan.unit == "site" and epsilon is None:
        raise ConfigError("--unit site says whom noise covers", hint="--epsilon as well")
    if plan.unit == "site" and rule == simulation.EXACT:
        raise ConfigError(
            "--unit site shortens a site's difference of weights, and exact sums are none",
            hint=f"--rule {rules.COVERED}",
        )


def _require_numbers(whole: dict[str, Any], others: dict[str, Any]) -> None:
    """Nothing; ConfigError: from Python, something is not the number that it must be."""
    for names, kinds, what in (
        (whole, (int,), "a whole number"),
        (others, (int, float), "a number"),
    ):
        for name, value in names.items():
            if isinstance(value, bool) or not isinstance(value, kinds):
                raise ConfigError(f"{name}: {value!r}"[:80], hint=what)


def _one_of(option: str, given: str, known: list[str]) -> None:
    if given not in known:
        raise ConfigError(f"{option} {given}: there is none", hint=f"one of {', '.join(known)}")


def _counted(option: str, given: str, known: list[str]) -> tuple[str, int]:
    """(kind, how many sites) in `signflip:2`; nothing in nothing."""
    if not given:
        return "", 0
    kind, _, count = given.partition(":")
    _one_of(option, kind, known)
    if not count.isascii() or not count.isdigit() or len(count) > 6:
        raise ConfigError(f"{option} {given}: how many sites?", hint=f"such as {kind}:2")
    return kind, int(count)


def _with_noise(design: Design, epsilon: float, privacy: PrivacyTable) -> Design:
    """The design with the noise that each site adds.

    Raises:
        ConfigError: the rule sends what noise does not cover.
        BackendError: the accountant is not installed.
    """
    if design.rule == rules.SCAFFOLD:
        raise ConfigError(
            "--rule scaffold sends controls that are not clipped, so no noise covers them",
            hint=rules.COVERED,
        )
    plan = msgspec.structs.replace(design.plan, clip=privacy.clip or design.plan.clip)
    if design.rule != simulation.EXACT:  # else the trees say how many sums there are
        sums = noisy_sums(design.plan, design.rounds)
        plan = msgspec.structs.replace(plan, sigma=sigma_for(epsilon, privacy.delta, sums))
    return msgspec.structs.replace(design, plan=plan, delta=privacy.delta)


def _require_masks(design: Design, asked: int) -> None:
    """Nothing; ConfigError where masks and the rest of a design do not fit together."""
    if not design.masked:
        raise ConfigError(
            "--groups and --drop-out are of sums under masks", hint="--masked as well"
        )
    if design.rule == rules.SCAFFOLD:
        raise ConfigError(
            "scaffold sends control variates beside the weights, which are not masked",
            hint="another --rule, or --no-masked",
        )
    smallest, largest = asked // design.groups, -(-asked // design.groups)
    if smallest < LEAST_MEMBERS or largest > MOST_MEMBERS:
        raise ConfigError(
            f"--groups {design.groups}: a group would have {smallest} to {largest} sites,"
            f" {LEAST_MEMBERS} to {MOST_MEMBERS} may be summed under masks",
            hint="other --groups, or more sites",
        )
    if design.combine != "mean" and design.groups == 1:
        raise ConfigError(
            f"--combine {design.combine} looks at single updates, and masks hide them: only the sum"
            " is there",
            hint="--groups 5 sums groups apart, and it looks at those; or --no-masked",
        )
    if design.rule == simulation.EXACT and design.groups != 1:
        raise ConfigError("--rule exact adds one sum of all sites", hint="without --groups")
    if design.rule == simulation.EXACT and design.silent and design.step in ("share", "mask"):
        raise ConfigError(
            "--rule exact needs the sums of the same sites each round, and these would be missing",
            hint="--drop-out agree:N or reveal:N; or --rule fedavg",
        )


def simulate(tools: Tools, parts: Parts, split: str, sites: int, design: Design) -> Federation:
    """Share the rows out, have the sites train in the sandbox, and say what came of it.

    Raises:
        ConfigError: split and design do not fit the table, or the target is no class.
        TrainingError: the user's code failed, or returns what sites cannot train.
        SandboxError: the kernel cannot confine the code and `[sandbox] mode` is "require".
    """
    config, schema = tools.config, parts.schema
    if schema.labels or len(schema.targets) > 1:
        raise ConfigError(
            "sites learn one target together, and there are several", hint="[data] target"
        )
    if schema.regression:
        design.require_sums("learn a quantity")
    if config.train.mode != "plain" or config.train.model is not None:
        raise ConfigError(
            f"[train] mode is {config.train.mode}, and sites are simulated in mode plain; noise is"
            " --epsilon"
            if config.train.model is None
            else "an imported model is trained by nobody",
            hint="-s train.mode=plain, if what is said of these rows may be said without noise",
        )
    where = shared_out(parts, split, sites, design.seed, config.privacy.min_group)
    code = code_of(tools.root, config)
    names = [*(column.name for column in schema.features), *schema.targets]
    table = parts.table.select(names).append_column(SITE, pa.array(where))
    if parts.subject is not None:
        table = with_groups(table, parts.table[parts.subject])
    job = {
        "entry": config.train.entry,
        "schema": msgspec.to_builtins(schema),
        "train": msgspec.to_builtins(config.train),
        "limits": bounds_of(schema, config),
        "monotone": monotone(schema, config),
        "design": msgspec.to_builtins(design),
        "least": config.privacy.min_group,
    }
    try:
        with scratch_folder(tools.scratch) as scratch:
            outcome = tools.worker.run(
                job,
                tables=[table],
                inputs=code,
                scratch=scratch,
                limits=limits_of(config),
                required=must_be_confined(config, code),
                hidden=tools.hidden,
                progress=tools.progress,
            )
        found = msgspec.convert(outcome.result, Simulated)
    except failure.JobFailed as error:
        raise explained(error, config, code) from error
    except msgspec.ValidationError as error:
        raise nonsense(error) from error
    if any(one.site >= sites for turn in found.rounds for one in turn.evidence):
        raise TrainingError("the rounds are of sites that there are not", hint="see train.py")
    return Federation(
        sites=[str(place + 1) for place in range(sites)],
        rows=np.bincount(where[where >= 0], minlength=sites).tolist(),
        held=int((where < 0).sum()),
        classes=len(schema.classes),
        found=found,
        sigma=design.plan.spread or found.sigma or None,
    )
