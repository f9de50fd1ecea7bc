"""Identifiers: how many of planted ones are found and gone, and how often real columns are suspected.

python bench/privacy/identifiers.py [ROWS [CASES]]

Every kind of 45 CFR 164.514(b)(2)(i) is planted in real tables (the MIMIC-III demo in CASES, default
beside the repository; a made-up table where it is absent): as columns with a telling name, as
columns with a name that says nothing where the kind has a shape, and inside notes. Found is what the
scan names; gone is what the bytes of the de-identified table do not hold. False findings are columns
of untouched tables, read one by one by a person and listed in `TRUE` where they are identifiers.
"""

import json
import random
import string
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from casemate.config.deidentify import DeidentifyTable
from casemate.core.errors import DataError
from casemate.stages.data.identifiers.columns import look
from casemate.stages.data.identifiers.deidentify import deidentify
from casemate.stages.data.identifiers.patterns import redacted
from casemate.stages.data.identifiers.scan import read

CASES = Path(__file__).parents[3] / "shared" / "cases" / "datasets"
FIRST = [
    "Alice",
    "Bob",
    "Carla",
    "Deniz",
    "Emre",
    "Fatima",
    "Greta",
    "Hugo",
    "Ines",
    "Jonas",
    "Kofi",
    "Lena",
    "Mehmet",
    "Nadia",
]
LAST = [
    "Abbott",
    "Baptiste",
    "Castillo",
    "Dubois",
    "Ellingsen",
    "Fujimoto",
    "Gallagher",
    "Hernandez",
    "Ivanova",
]
TOWNS = [
    "Springfield",
    "Riverton",
    "Lakewood",
    "Fairview",
    "Georgetown",
    "Ashbourne",
    "Millbrook",
    "Eastport",
]
STREETS = ("Oak Street", "Maple Ave", "Main St.", "Elm Road", "North Park Blvd", "Cedar Lane")
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
]


class Maker:
    """Identifiers of every kind, in the ways that people write them."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    def digits(self, count: int) -> str:
        return "".join(self.draw.choices(string.digits, k=count))

    def one(self, *forms: str) -> str:
        return self.draw.choice(forms)

    def luhn(self, body: str) -> str:
        total = 0
        for at, digit in enumerate(reversed(body)):
            doubled = int(digit) * (2 if at % 2 == 0 else 1)
            total += doubled - 9 if doubled > 9 else doubled
        return body + str(-total % 10)

    def name(self) -> str:
        first, last = self.draw.choice(FIRST), self.draw.choice(LAST)
        return self.one(f"{first} {last}", f"{last}, {first}", f"{first} {first[0]}. {last}")

    def place(self) -> str:
        return f"{self.draw.randint(1, 9999)} {self.draw.choice(STREETS)}"

    def zip(self) -> str:
        return self.one(f"{self.digits(5)}", f"{self.digits(5)}-{self.digits(4)}")

    def date(self) -> str:
        year, month, day = (
            self.draw.randint(1950, 2025),
            self.draw.randint(1, 11),
            self.draw.randint(13, 28),
        )
        word = MONTHS[month - 1]
        return self.one(
            f"{year}-{month:02}-{day:02}", f"{month}/{day}/{year}", f"{month:02}/{day:02}/{year % 100:02}",
            f"{day}.{month}.{year}", f"{word} {day}, {year}", f"{day} {word[:3]} {year}", f"{word} {day}",
            f"{year}-{month:02}-{day:02} 14:05",
        )  # fmt: skip

    def day(self) -> str:
        return f"{self.draw.randint(1950, 2025)}-{self.draw.randint(1, 12):02}-{self.draw.randint(1, 28):02}"

    def phone(self) -> str:
        a, b, c = (
            f"{self.draw.randint(2, 9)}{self.digits(2)}",
            f"{self.draw.randint(2, 9)}{self.digits(2)}",
            self.digits(4),
        )
        return self.one(
            f"({a}) {b}-{c}", f"{a}-{b}-{c}", f"{a}.{b}.{c}", f"+1 {a} {b} {c}", f"1-{a}-{b}-{c}"
        )

    fax = phone

    def email(self) -> str:
        return f"{self.draw.choice(FIRST).lower()}.{self.digits(3)}@{self.one('mail', 'x-ray.example')}.{self.one('org', 'co.uk')}"

    def ssn(self) -> str:
        return f"{self.draw.randint(100, 665)}-{self.draw.randint(1, 99):02}-{self.draw.randint(1, 9999):04}"

    def mrn(self) -> str:
        return self.one(self.digits(7), f"M{self.digits(6)}", f"{self.digits(3)}-{self.digits(4)}")

    def plan(self) -> str:
        return self.one(
            f"XQW{self.digits(9)}", f"{self.digits(10)}", f"H{self.digits(4)}-{self.digits(3)}"
        )

    def account(self) -> str:
        card = self.luhn("4" + self.digits(14))
        return self.one(card, f"{card[:4]} {card[4:8]} {card[8:12]} {card[12:]}")

    def licence(self) -> str:
        return self.one(f"D{self.digits(7)}", f"{self.digits(3)}-{self.digits(3)}-{self.digits(3)}")

    def vehicle(self) -> str:
        from casemate.stages.data.identifiers.checks import is_vin

        while True:
            body = "".join(self.draw.choices("ABCDEFGHJKLMNPRSTUVWXYZ0123456789", k=17))
            for check in "0123456789X":
                if is_vin(body[:8] + check + body[9:]):
                    return body[:8] + check + body[9:]

    def device(self) -> str:
        return self.one(
            f"(01){self.digits(14)}", ":".join(f"{self.draw.randint(0, 255):02X}" for _ in range(6))
        )

    def url(self) -> str:
        return (
            f"https://{self.one('www.', '')}clinic-{self.digits(3)}.example.org/p/{self.digits(5)}"
        )

    def ip(self) -> str:
        return self.one(
            ".".join(str(self.draw.randint(1, 254)) for _ in range(4)),
            ":".join(f"{self.draw.randint(0x1000, 0xFFFF):x}" for _ in range(8)),
        )

    def biometric(self) -> str:
        return f"FP-{self.digits(8)}"

    def photo(self) -> str:
        return f"face_{self.digits(6)}.{self.one('jpg', 'png')}"

    def other(self) -> str:
        h = f"{self.draw.getrandbits(128):032x}"
        return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


COLUMNS = {
    "A": ("patient_name", "name"), "B": ("street_address", "place"), "C": ("admission_date", "day"),
    "D": ("phone", "phone"), "E": ("fax", "fax"), "F": ("email", "email"), "G": ("ssn", "ssn"), "H": ("mrn", "mrn"),
    "I": ("health_plan_id", "plan"), "J": ("account_number", "account"), "K": ("license_number", "licence"),
    "L": ("vin", "vehicle"), "M": ("device_serial", "device"), "N": ("url", "url"), "O": ("ip_address", "ip"),
    "P": ("fingerprint", "biometric"), "Q": ("photo", "photo"), "R": ("record_id", "other"),
}  # fmt: skip
"""Paragraph -> a telling name, and what is planted under it."""
SHAPED = "BCDEFGJLMNOQR"
"""Paragraphs whose values have a shape, so that they are found whatever the column is called."""
NOTES = {
    "B": ("lives at {}, came by bus", "place"), "B zip": ("moved to Boise, ID {} last year", "zip"),
    "C": ("seen on {} for a follow up", "date"), "D": ("call {} in the evening", "phone"), "E": ("fax: {} at work", "fax"),
    "F": ("writes from {} often", "email"), "G": ("SSN {} was given", "ssn"), "H": ("MRN: {} on the form", "mrn"),
    "I": ("member id {} of the plan", "plan"), "J": ("paid with {} today", "account"),
    "K": ("driver's license {} was shown", "licence"), "L": ("drives VIN {} still", "vehicle"),
    "M": ("the pump {} was checked", "device"), "N": ("read {} about it", "url"), "O": ("logged in from {} at night", "ip"),
    "P": ("fingerprint id {} at the door", "biometric"), "Q": ("see picture {} in the chart", "photo"),
    "R": ("export {} of the study", "other"),
}  # fmt: skip
WORDS = [
    "stable",
    "improved",
    "denies",
    "chest",
    "pain",
    "mild",
    "cough",
    "no",
    "fever",
    "tolerates",
    "diet",
    "ambulates",
    "lungs",
    "clear",
]
TRUE = {
    "id", "row_id", "subject_id", "hadm_id", "icustay_id", "PassengerId", "customerID", "Name", "home.dest", "Latitude",
    "Longitude", "timestamp", "Address1", "City", "ZipCode", "CountyName", "PhoneNumber", "admittime", "dischtime",
    "deathtime", "edregtime", "edouttime", "dob", "dod", "dod_hosp", "dod_ssn", "startdate", "enddate", "correct_val",
    "person_id", "person", "row", "admitted", "dmy", "mdy", "iso", "zip", "age", "alter",
}  # fmt: skip
"""Columns of the untouched tables that are identifiers: `correct_val` holds addresses among others, and
ages are some of 90 and more."""


def host(rows: int, cases: Path) -> pa.Table:
    """Real columns to plant among: admissions of the MIMIC-III demo, repeated."""
    path = cases / "mimic3demo" / "ADMISSIONS.csv.gz"
    if not path.exists():
        return pa.table({"glucose": [str(70 + at % 90) for at in range(rows)]})
    table = read(path)
    return table.take(pa.array([at % table.num_rows for at in range(rows)]))


def structured(rows: int, cases: Path, folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """(share of planted cells in columns that are named, share whose bytes are gone), by kind."""
    found, gone = {}, {}
    for letter, (name, what) in COLUMNS.items():
        for called in [name, *(["x17"] if letter in SHAPED else [])]:
            maker = Maker(ord(letter))
            values = [getattr(maker, what)() for _ in range(rows)]
            table = host(rows, cases).append_column(called, pa.array(values))
            evidence = next(one for one in look(table) if one.column == called).evidence
            # a fax number looks like a telephone number
            right = "DE" if letter == "E" and called != name else letter
            cells = sum(one.cells for one in evidence if one.letter in right)
            source, out = folder / "in.parquet", folder / "out.csv"
            pa.parquet.write_table(table, source)
            deidentify(source, out, DeidentifyTable(), force=True)
            written = out.read_text()
            label = letter if called == name else f"{letter} unnamed"
            found[label] = min(cells / rows, 1.0)
            gone[label] = sum(value not in written for value in values) / rows
    return found, gone


def in_text(rows: int) -> tuple[dict[str, float], float]:
    """(share of values in notes that are gone, by kind; share of names that are)."""
    gone, maker = {}, Maker(0)
    for letter, (sentence, what) in NOTES.items():
        hits = 0
        for _ in range(rows):
            value = getattr(maker, what)()
            before, after = (" ".join(maker.draw.choices(WORDS, k=8)) for _ in range(2))
            hits += (
                value not in redacted(f"{before}. Patient {sentence.format(value)}. {after}.")[0]
            )
        gone[letter] = hits / rows
    names = [maker.name() for _ in range(rows)]
    return gone, sum(name not in redacted(f"{name} came with pain.")[0] for name in names) / rows


def untouched(cases: Path) -> tuple[int, list[str]]:
    """(columns of real tables, those suspected that are no identifiers)."""
    count, wrong = 0, []
    paths = [*sorted(cases.glob("*/*.csv")), *sorted(cases.glob("mimic3demo/*.gz"))]
    paths += sorted(cases.parent.glob("strangers/**/*.csv"))
    for path in paths:
        try:
            table = read(path)
        except DataError as error:
            print(f"not read: {path.name}: {error}", file=sys.stderr)
            continue
        for one in look(table):
            count += 1
            if one.evidence and one.column not in TRUE:
                wrong.append(f"{path.name}:{one.column}:{one.evidence[0].kind}")
    return count, wrong


def speed(rows: int) -> tuple[dict[str, int], int]:
    """(rows a second of processor time, columns) of a table in which every cell differs."""
    maker = Maker(1)
    table = {name: [getattr(maker, what)() for _ in range(rows)] for name, what in COLUMNS.values()}
    table["note"] = [
        " ".join(maker.draw.choices(WORDS, k=20)) + " " + maker.date() for _ in range(rows)
    ]
    table["weight"] = [f"{maker.draw.uniform(40, 120):.3f}" for _ in range(rows)]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.parquet"
        pa.parquet.write_table(pa.table(table), source)
        start = time.process_time()
        look(read(source))
        scanned = time.process_time()
        plan = DeidentifyTable(keep={"note": "made up"})
        deidentify(source, Path(folder) / "out.parquet", plan)
        done = time.process_time()
    return {
        "scan": round(rows / (scanned - start)),
        "deidentify": round(rows / (done - scanned)),
    }, len(table)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    cases = Path(sys.argv[2]) if len(sys.argv) > 2 else CASES
    with tempfile.TemporaryDirectory() as name:
        found, gone = structured(rows, cases, Path(name))
    text, names = in_text(rows)
    count, wrong = untouched(cases)
    speeds, columns = speed(20 * rows)
    print(
        json.dumps(
            {
                "structured_found": found,
                "structured_gone": gone,
                "text_gone": text,
                "text_mean": sum(text.values()) / len(text),
                "names_in_text": names,
                "untouched_columns": count,
                "false_findings": wrong,
                "rows_a_second": speeds,
                "of_columns": columns,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
