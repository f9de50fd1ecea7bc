"""Erasure against what brings people back: an old backup, the same table, a new one; and what of
them can still be read anywhere.

python -m bench.privacy.erasure [--people 400] [--erased 100] [--membership]
"""

import argparse
import os
import random
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

import casemate
from casemate import pipeline
from casemate.controls.keys import tables
from casemate.controls.keys.sealedfile import Opener
from casemate.operations import backup, runs, scaffold
from casemate.supply.inputs import inputs_of

WORDS = "correct horse battery"
ROWS = 2
"""Of each person."""


def name_of(number: int) -> str:
    """An identifier that nothing else looks like."""
    return f"person-{number:06d}-{(number * 7919) % 9973:04d}"


def write(path: Path, people: list[int], rows: int = ROWS, seed: int = 1) -> None:
    """A table with `rows` of each person."""
    drawn = random.Random(seed)
    lines = ["person,a,b,y"]
    for person in people:
        for _ in range(rows):
            a, b = drawn.gauss(0, 1), drawn.gauss(0, 1)
            lines.append(f"{name_of(person)},{a:.6f},{b:.6f},{int(a + b + drawn.gauss(0, 1) > 0)}")
    path.write_text("\n".join(lines) + "\n")


def seal(root: Path) -> None:
    """A run that ends behind its data stage."""
    with casemate.open(root) as project:
        context = runs.run_context(project)
        inputs = inputs_of(context, root / context.config.data.source, None)
        with context.engine.begin(inputs, project.point.identify().principal.uid) as work:
            pipeline._data(context, work, None)
            work.finish("failed")


def made(root: Path, people: list[int], rows: int = ROWS) -> None:
    """A project of these people."""
    root.mkdir()
    write(root / "t.csv", people, rows)
    scaffold.create(root, scaffold.from_table(root, root / "t.csv", "y"))
    config = root / "casemate.toml"
    if "subject" not in config.read_text():
        config.write_text(config.read_text().replace("[data]\n", '[data]\nsubject = "person"\n', 1))


def everything(root: Path) -> Iterator[bytes]:
    """Every byte that is kept below a project and in its key store, as it lies and opened with
    every key that is left.
    """
    with casemate.open(root) as project:
        for folder in (root / ".casemate", project.keystore.folder):
            yield from (path.read_bytes() for path in folder.rglob("*") if path.is_file())
        yield from (project.objects.get(digest) for digest in project.objects.digests())
        for manifest in (root / ".casemate" / "datasets").glob("*/*/manifest.dsse.json"):
            table = tables.read(manifest.parent, project.provider, project.signer.verifier)
            opened = project.identifiers.open(table)
            for column in opened.columns:
                yield "\n".join(map(str, column.to_pylist())).encode()
        yield from (msgspec.json.encode(one) for one in project.log.entries())


def hits(root: Path, people: list[int]) -> int:
    """How many of these people can be read anywhere."""
    pattern = re.compile(b"|".join(name_of(one).encode() for one in people))
    return len({one for content in everything(root) for one in pattern.findall(content)})


def newest(root: Path) -> dict[str, int]:
    """Rows of each person in the newest version, and how many there are without a name."""
    with casemate.open(root) as project:
        found = next(iter(project.datasets.values())).to_arrow(["person"])["person"].to_pylist()
    counts: dict[str, int] = {}
    for one in found:
        counts[one or ""] = counts.get(one or "", 0) + 1
    return counts


def report(what: str, value: Any) -> None:
    """One line."""
    print(f"{what}: {value}", flush=True)


def again_in(file: Path, folder: Path) -> None:
    """Restore a backup."""
    restored, _ = backup.restore(file, folder, Opener(WORDS))
    restored.close()


def came_again(root: Path, gone: list[int], others: dict[str, int]) -> None:
    """The same table, and then a new one with the same people and more."""
    seal(root)
    again = newest(root)
    report("same table again: erased people with rows", sum(name_of(n) in again for n in gone))
    report("same table again: others with all their rows", again == others)
    (root / "t.csv").unlink()
    write(root / "new.csv", [*range(len(gone) + len(others)), *range(10_000, 10_050)], seed=2)
    config = root / "casemate.toml"
    config.write_text(config.read_text().replace("t.csv", "new.csv"))
    seal(root)
    new = newest(root)
    added = {name_of(one): ROWS for one in range(10_000, 10_050)}
    report("new table: erased people with rows", sum(name_of(n) in new for n in gone))
    report("new table: others with all their rows", new == others | added)


def measure(folder: Path, people: int, erased: int) -> dict[str, int]:
    """What came of it, by what should be 0 or all."""
    root = folder / "p"
    everybody, gone = list(range(people)), list(range(erased))
    others = {name_of(one): ROWS for one in everybody[erased:]}
    made(root, everybody)
    seal(root)
    with casemate.open(root) as project:
        backup.add_recipient(project, "me", passphrase=WORDS, keys=True)
        backup.create(project, folder / "old", with_keys=True)
        began = time.perf_counter()
        closed = sum(
            project.privacy.erase(name_of(one)).request.request.state == "fulfilled" for one in gone
        )
        took = time.perf_counter() - began
        backup.create(project, folder / "new")
    report("erased and closed", f"{closed} of {erased}, {took / erased:.2f} s each")
    came_again(root, gone, others)
    again_in(folder / "old", folder / "again")
    back = newest(folder / "again")
    stayed = erased - sum(name_of(n) in back for n in gone)
    report("old backup restored here: stay erased", f"{stayed} of {erased}")
    kept = {name: count for name, count in back.items() if name} == others
    report("old backup restored here: others readable", kept)
    elsewhere = folder / "home"
    elsewhere.mkdir()
    home, os.environ["HOME"] = os.environ["HOME"], str(elsewhere)
    again_in(folder / "old", folder / "elsewhere")
    far = newest(folder / "elsewhere")
    stayed_far = erased - sum(name_of(n) in far for n in gone)
    report("old backup restored on a new machine: stay erased", f"{stayed_far} of {erased}")
    found = hits(folder / "elsewhere", gone)
    os.environ["HOME"] = home
    found += hits(root, gone) + hits(folder / "again", gone)
    found += sum(
        name_of(one).encode() in path.read_bytes()
        for path in folder.glob("*.erased")
        for one in gone
    )
    report("erased people readable in project, both restored ones, key stores, registers", found)
    report("control: others readable in the project", f"{hits(root, everybody[erased:])}")
    return {"closed": closed, "stayed": stayed, "far": stayed_far, "hits": found}


def membership(folder: Path) -> None:
    """One person with many rows: whether the model that was trained without them knows them."""
    root = folder / "m"
    made(root, list(range(30)), rows=40)
    with casemate.open(root) as project:
        project.run()
        done = project.privacy.erase(name_of(3))
        report("before a model without them", done.waiting)
        project.run()
        after = project.privacy.requests.fulfil(1)
        closing = after.request.request.closing
        report("after", after.waiting if closing is None else closing.models)


def main() -> None:
    """Measure in a folder and a home of their own."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--people", type=int, default=400)
    parser.add_argument("--erased", type=int, default=100)
    parser.add_argument("--membership", action="store_true", help="trains two models")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        os.environ["HOME"] = str(Path(name) / "here")
        Path(os.environ["HOME"]).mkdir()
        if options.membership:
            membership(Path(name))
        else:
            measure(Path(name), options.people, options.erased)


if __name__ == "__main__":
    main()
