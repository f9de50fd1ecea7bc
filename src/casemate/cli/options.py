"""Options that every command takes, wherever on the line they stand."""

import argparse


def common(*, nested: bool = False) -> argparse.ArgumentParser:
    """A parent parser; `nested` ones keep what an outer parser has read."""
    parser = argparse.ArgumentParser(add_help=False)

    def default(value: object) -> object:
        return argparse.SUPPRESS if nested else value

    parser.add_argument("--config", default=default("."), metavar="PATH", help="the project's folder or casemate.toml (default: here)")
    parser.add_argument("-s", dest="overrides", action="append", default=default([]), metavar="TABLE.KEY=VALUE", help="override one option")
    parser.add_argument("--format", choices=("text", "json"), default=default("text"), help="how to print (default: text)")
    return parser
