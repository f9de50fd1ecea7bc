"""How sites learn together: options that a simulation and real sites have alike."""

import argparse
from typing import Any

RULES = ("fedavg", "fedprox", "scaffold", "fedavgm", "fedadam", "exact")
COMBINERS = (
    "mean",
    "median",
    "trimmed-mean",
    "krum",
    "multi-krum",
    "centred-clipping",
    "norm-bound",
)
UNITS = ("subject", "site")
ATTACKS = ("signflip", "boost", "noise", "nan", "labelflip")


def design(parser: argparse.ArgumentParser, liars: str) -> None:
    """Options of the rounds.

    Args:
        parser: of the action.
        liars: what `--liars` means there.
    """
    add = parser.add_argument
    add("--rounds", type=int, default=10, metavar="N", help="(default: 10)")
    add("--rule", choices=RULES, default="fedavg", help="how sites learn (default: fedavg)")
    add(
        "--combine",
        choices=COMBINERS,
        default="mean",
        help="how one update is made of the sites' (default: mean)",
    )
    add("--liars", type=int, metavar="N", help=liars)
    add(
        "--mix",
        action="store_true",
        help="combine means of neighbouring updates, for sites that differ and some that lie",
    )
    add(
        "--bucket",
        type=int,
        default=1,
        metavar="N",
        help="combine means of N sites each, drawn anew each round (default: 1, each alone)",
    )
    add(
        "--remember",
        action="store_true",
        help="leave out sites, at most as many as may lie, that over all rounds undo what others do",
    )
    add("--epochs", type=int, default=1, metavar="N", help="passes of a site a round (default: 1)")
    add("--batch", type=int, default=32, metavar="N", help="rows a step (default: 32)")
    add("--rate", type=float, default=0.1, metavar="R", help="learning rate (default: 0.1)")
    add("--momentum", type=float, default=0.0, metavar="M", help="of a site (default: 0)")
    add(
        "--calibrate",
        type=float,
        default=0.0,
        metavar="T",
        help="for sites that have classes in unlike shares: T times the logarithm of its share is"
        " added to each class's score in a site's loss; 1 is usual (default: 0)",
    )
    add("--groups", type=int, default=1, metavar="N", help="of sites, summed apart (default: 1)")
    add(
        "--epsilon",
        type=float,
        metavar="E",
        help="noise at each site, so that all rounds together cost its rows E",
    )
    add(
        "--unit",
        choices=UNITS,
        default="subject",
        help="whom noise covers: a row, or subject; or a whole site, which takes many sites"
        " (default: subject)",
    )


def designed(arguments: Any) -> dict[str, Any]:
    """The same as an operation takes them."""
    return {
        "rounds": arguments.rounds,
        "rule": arguments.rule,
        "combine": arguments.combine,
        "liars": arguments.liars,
        "mixed": arguments.mix,
        "bucket": arguments.bucket,
        "remembers": arguments.remember,
        "epochs": arguments.epochs,
        "batch": arguments.batch,
        "rate": arguments.rate,
        "momentum": arguments.momentum,
        "calibrate": arguments.calibrate,
        "groups": arguments.groups,
        "epsilon": arguments.epsilon,
        "unit": arguments.unit,
    }
