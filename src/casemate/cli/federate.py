"""`casemate federate`."""

import argparse
from typing import TYPE_CHECKING, Any

from casemate.cli.commands import open_for
from casemate.cli.options import common

if TYPE_CHECKING:
    from casemate.stages.train.federation import Federation

RULES = ("fedavg", "fedprox", "scaffold", "fedadam", "exact")
COMBINERS = (
    "mean",
    "median",
    "trimmed-mean",
    "krum",
    "multi-krum",
    "centred-clipping",
    "norm-bound",
)
ATTACKS = ("signflip", "boost", "noise", "nan", "labelflip")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    simulate = actions.add_parser(
        "simulate",
        help="what made-up sites would learn together, in one process, over this project's table",
        parents=[common(nested=True)],
    )
    add = simulate.add_argument
    add("--sites", type=int, default=10, metavar="N", help="how many (default: 10)")
    add("--rounds", type=int, default=10, metavar="N", help="(default: 10)")
    add(
        "--split",
        default="iid",
        metavar="HOW",
        help="iid, dirichlet:0.5, or by:COLUMN (default: iid)",
    )
    add("--rule", choices=RULES, default="fedavg", help="how sites learn (default: fedavg)")
    add(
        "--combine",
        choices=COMBINERS,
        default="mean",
        help="how one update is made of the sites' (default: mean)",
    )
    add(
        "--liars",
        type=int,
        metavar="N",
        help="sites that --combine reckons with (default: those of --attack)",
    )
    add(
        "--mix",
        action="store_true",
        help="combine means of neighbouring updates, for sites that differ and some that lie",
    )
    add(
        "--attack",
        default="",
        metavar="KIND:N",
        help=f"so many sites lie: {', '.join(ATTACKS)}",
    )
    add(
        "--share",
        type=float,
        default=1.0,
        metavar="S",
        help="of the sites that a round asks (default: 1)",
    )
    add("--epochs", type=int, default=1, metavar="N", help="passes of a site a round (default: 1)")
    add("--batch", type=int, default=32, metavar="N", help="rows a step (default: 32)")
    add("--rate", type=float, default=0.1, metavar="R", help="learning rate (default: 0.1)")
    add("--momentum", type=float, default=0.0, metavar="M", help="of a site (default: 0)")
    add(
        "--masked",
        action="store_true",
        help="sum updates under masks, so that nobody sees one of them",
    )
    add("--groups", type=int, default=1, metavar="N", help="of sites, summed apart (default: 1)")
    add(
        "--drop-out",
        default="",
        metavar="STEP:N",
        help="sites of each group that fall silent before share, mask, agree or reveal",
    )
    add(
        "--epsilon",
        type=float,
        metavar="E",
        help="noise at each site, so that all rounds together cost its rows E",
    )


def run(arguments: Any) -> int:
    """Simulate, and show each round and each site."""
    from casemate.cli.output import emit
    from casemate.core.progress import Lines

    lines = Lines(quiet=arguments.format == "json")
    try:
        found = open_for(arguments).federated.simulate(
            sites=arguments.sites,
            rounds=arguments.rounds,
            split=arguments.split,
            rule=arguments.rule,
            combine=arguments.combine,
            liars=arguments.liars,
            mixed=arguments.mix,
            attack=arguments.attack,
            share=arguments.share,
            epochs=arguments.epochs,
            batch=arguments.batch,
            rate=arguments.rate,
            momentum=arguments.momentum,
            masked=arguments.masked,
            groups=arguments.groups,
            drop_out=arguments.drop_out,
            epsilon=arguments.epsilon,
            reporter=lines,
        )
    finally:
        lines.close()
    emit(arguments, found, _text(found))
    return 0


def _text(found: "Federation") -> str:
    from casemate.cli.output import table

    rounds, name = found.found.rounds, "accuracy" if found.classes else "R²"
    shown = [
        [
            one.number,
            f"{one.asked - len(one.refused)} of {one.asked}",
            f"{one.score:.4f}",
            f"{one.length:.3g}",
        ]
        for one in rounds
    ]
    lead = (
        f"{len(found.sites)} sites, {sum(found.rows)} rows ({min(found.rows)} to"
        f" {max(found.rows)} each), {found.found.numbers} numbers a site and round; {name} on"
        f" {found.held} rows that no site has:"
    )
    lines = [
        lead,
        "",
        table(["round", "heard", name, "step"], shown),
    ]
    if found.found.off is not None:
        lines += ["", f"coefficients differ from a fit on the pooled rows by {found.found.off:.1e}"]
    if found.sigma is not None:
        lines += ["", f"each site adds noise of {found.sigma:.2f} times the clip to each sum"]
    if found.found.rounding is not None:
        lines += ["", f"masked sums differ from plain ones by {found.found.rounding:.1e} of them"]
    return "\n".join([*lines, *_evidence(found, masked=found.found.rounding is not None)])


def _evidence(found: "Federation", *, masked: bool) -> list[str]:
    """What each site, or each group of sites under masks, looked like in the last round."""
    from casemate.cli.output import table

    last = found.found.rounds[-1]
    name, lines = "group" if masked else "site", []
    if last.evidence:
        rows = [
            [
                one.site + 1 if masked else found.sites[one.site],
                f"{one.share:.3f}",
                f"{one.length:.2f}",
                f"{one.agreement:+.2f}",
                "suspect" if one.suspect else "",
            ]
            for one in last.evidence
        ]
        lines += [
            "",
            f"What each {name} counted for in the last round, and how its update looked:",
            table([name, "counted", "length", "agreement", ""], rows),
        ]
    if last.lost:
        lines.append(f"{last.lost} groups had too few sites left for a sum: they count for nothing")
    if not masked:
        lines += [
            f"site {found.sites[place]}: its update was refused (NaN, infinite or huge)"
            for place in last.refused
        ]
    return lines
