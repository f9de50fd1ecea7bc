"""The register of consent at size: how long a file takes to keep, and a run to learn who is covered.

python -m bench.privacy.consent [--people 100000]
"""

import argparse
import tempfile
import time
from pathlib import Path

import casemate
from casemate.operations import scaffold


def main() -> None:
    """Write a file, keep it, keep it again, take one back, ask who is covered."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--people", type=int, default=100_000)
    count = parser.parse_args().people
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "t.csv").write_text("a,y\n" + "".join(f"{n}.5,{n % 2}\n" for n in range(20)))
        scaffold.create(root, scaffold.from_table(root, root / "t.csv", "y"))
        lines = [
            f"person-{number:08d},research,2026-01-01T00:00:00Z,given,v1,form\n"
            for number in range(count)
        ]
        (root / "c.csv").write_text("subject,purpose,time,status,text,source\n" + "".join(lines))
        with casemate.open(root) as project:
            consent = project.privacy.consent
            for what, ask in (
                ("import", lambda: consent.add(root / "c.csv")),
                ("import again", lambda: consent.add(root / "c.csv")),
                ("withdraw one", lambda: consent.withdraw("person-00000007", "research")),
                ("who is covered", lambda: project.consents.covered("research")),
                ("show one", lambda: consent.show("person-00000008")),
            ):
                began = time.perf_counter()
                ask()
                print(f"{what}: {time.perf_counter() - began:.2f} s of {count} people")


if __name__ == "__main__":
    main()
