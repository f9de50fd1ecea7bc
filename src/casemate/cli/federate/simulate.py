"""`casemate federate simulate`."""

import argparse
from typing import TYPE_CHECKING, Any

from casemate.cli.commands import open_for
from casemate.cli.federate.design import ATTACKS, design, designed
from casemate.cli.options import common

if TYPE_CHECKING:
    from casemate.stages.train.federation import Federation


def add_arguments(actions: Any) -> None:
    """Options of the action."""
    simulate = actions.add_parser(
        "simulate",
        help="what made-up sites would learn together, in one process, over this project's table",
        parents=[common(nested=True)],
    )
    add = simulate.add_argument
    add("--sites", type=int, default=10, metavar="N", help="how many (default: 10)")
    add(
        "--split",
        default="iid",
        metavar="HOW",
        help="iid, dirichlet:0.5, or by:COLUMN (default: iid)",
    )
    design(simulate, "sites that --combine reckons with (default: those of --attack)")
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
    add(
        "--masked",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="sum updates under masks, so that nobody sees one of them (default: no masks)",
    )
    add(
        "--drop-out",
        default="",
        metavar="STEP:N",
        help="sites of each group that fall silent before share, mask, agree or reveal",
    )


def run(arguments: Any) -> int:
    """Simulate, and show each round and each site."""
    from casemate.cli.output import emit
    from casemate.core.progress import Lines

    lines = Lines(quiet=arguments.format == "json")
    try:
        found = open_for(arguments).federated.simulate(
            sites=arguments.sites,
            split=arguments.split,
            attack=arguments.attack,
            share=arguments.share,
            masked=arguments.masked,
            drop_out=arguments.drop_out,
            **designed(arguments),
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
        what = "scores of the trees" if found.found.levels else "coefficients"
        lines += ["", f"{what} differ from a fit on the pooled rows by {found.found.off:.1e}"]
    if found.found.levels:
        lines += ["", f"each site was asked about {found.found.levels} levels of trees"]
    if found.sigma is not None:
        lines += ["", f"each site adds noise of {found.sigma:.2f} times the clip to what it sends"]
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
