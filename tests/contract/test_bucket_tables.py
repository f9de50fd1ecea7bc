"""A table in a bucket: the same one as in a file, read as it was at the first look, and refused in
words that say who must act.
"""

import contextlib
import dataclasses
import gzip
import http.server
import json
import re
import sqlite3
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import urllib3
from tests.conftest import TOML
from tests.contract.key_servers import s3_client
from tests.ports import free_port

from casemate import config, pipeline
from casemate.config import DataTable
from casemate.core.digest import sha256
from casemate.core.errors import BackendError, ConfigError, DataError, Error, TransientError
from casemate.operations import doctor, runs, scaffold
from casemate.stages.data import files, further, source, stage
from casemate.stages.data import schema as schemas
from casemate.stages.data.files import bucket, objects
from casemate.supply.inputs import inputs_of

ROWS = 3000
SECRET = "swordfish"
TEXT = "age,sex,y\n" + "".join(
    f"{row % 61},{'fm'[row * 7 % 11 > 5]},{'pq'[row * 5 % 13 > 6]}\n" for row in range(ROWS)
)


@pytest.fixture
def place(s3_place, monkeypatch):
    """(client, bucket, prefix) that this machine's AWS settings lead to."""
    return _leading(s3_place, monkeypatch)


@pytest.fixture
def on_moto(aws, monkeypatch):
    """The same, with moto alone."""
    from tests.contract.conftest import _fresh_place

    return _leading(_fresh_place(aws), monkeypatch)


def _leading(place, monkeypatch):
    for name, value in {
        "AWS_ENDPOINT_URL_S3": place.endpoint,
        "AWS_ACCESS_KEY_ID": place.access_key,
        "AWS_SECRET_ACCESS_KEY": place.secret_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    return (
        s3_client(place, (place.access_key, place.secret_key)),
        place.bucket,
        place.prefix,
    )


def put(place, name, content):
    client, held, prefix = place
    body = content.encode() if isinstance(content, str) else content
    client.put_object(Bucket=held, Key=prefix + name, Body=body)
    return f"s3://{held}/{prefix}{name}"


def options(said, **more):
    return DataTable(**{"source": said, "target": "y", **more})


def parts(count=2):
    head, *rows = TEXT.splitlines(keepends=True)[:500]
    return {f"part-{at}.csv": head + "".join(rows[at::count]) for at in range(count)}


def parquet():
    sink = pa.BufferOutputStream()
    table = pa.table({"age": range(ROWS), "y": ["p", "q", "q"] * (ROWS // 3)})
    pq.write_table(table, sink, row_group_size=500)
    return bytes(sink.getvalue())


FORMS = {
    "t.csv": TEXT.encode(),
    "t.csv.gz": gzip.compress(TEXT.encode()),
    "t.parquet": parquet(),
    "t.json": "".join(f'{{"age": {row}, "y": "q"}}\n' for row in range(9)).encode(),
}


def test_every_form_of_file_is_read_as_here(place, tmp_path):
    for name, content in FORMS.items():
        (tmp_path / name).write_bytes(content)
        asked = options(put(place, name, content))
        for more in ({}, {"sample": 1000}) if name in ("t.csv", "t.parquet") else ({},):
            asked = options(asked.source, **more)
            found = files.once(files.place(tmp_path, asked.source), asked)
            there, said = source.read(found, asked)
            here, _ = source.read(tmp_path / name, options(name, **more))
            assert there.equals(here)
            assert files.digest(found, there) == files.digest(tmp_path / name, here)
            assert "data.bucket" in [one.id for one in said]
            assert files.names(found, asked) == here.column_names
    base = sqlite3.connect(tmp_path / "t.db")
    base.execute("CREATE TABLE t (y)")
    base.commit()
    base.close()
    asked = options(put(place, "t.db", (tmp_path / "t.db").read_bytes()))
    with pytest.raises(DataError, match="a database in a bucket"):
        source.read(files.once(asked.source, asked), asked)


def test_columns_in_names_of_folders_are_the_same_in_a_bucket_and_here(on_moto, tmp_path):
    for year in (2023, 2024):
        (tmp_path / "hive" / f"year={year}").mkdir(parents=True)
        (tmp_path / "hive" / f"year={year}" / "t.csv").write_text(TEXT)
        said = put(on_moto, f"hive/year={year}/t.csv", TEXT)
    asked = options(said.partition("year=")[0], sample=ROWS)
    found = files.once(asked.source, asked)
    there, here = source.read(found, asked)[0], source.read(tmp_path / "hive", asked)[0]
    assert there.equals(here)
    assert {*there["year"].to_pylist()} == {2023.0, 2024.0}
    assert files.digest(found, there) == files.digest(tmp_path / "hive", here)


def test_a_table_in_a_bucket_a_folder_there_and_its_files_here_are_one_version(on_moto, tmp_path):
    folder = tmp_path / "p" / "table"
    folder.mkdir(parents=True)
    for name, content in parts().items():
        (folder / name).write_text(content)
        put(on_moto, f"table/{name}", content)
    for name in ("_SUCCESS", ".part.crc", "old/.hidden/part-2.csv", "../table/x.csv"):
        put(on_moto, f"table/{name}", "nothing of the table")
    there = put(on_moto, "table/", "")
    plan = scaffold.from_table(tmp_path / "p", there, "y")
    project = scaffold.create(tmp_path / "p", plan)
    assert project.config.data.source == there
    (check,) = [one for one in doctor.examine(str(tmp_path / "p"), []) if one.subject == "table"]
    size = sum(map(len, parts().values()))
    assert (check.mark, check.state) == ("ok", f"{there}: 2 objects, {size} bytes")

    def sealed(said):
        text = (project.root / "casemate.toml").read_text().replace(f'"{there}"', f'"{said}"')
        context = dataclasses.replace(runs.run_context(project), config=config.parse(text))
        where = files.place(context.root, said)
        answer = files.once(where, context.config.data)
        inputs = inputs_of(context, where, answer)
        held = None if answer is where else answer
        with context.engine.begin(inputs, project.point.identify().principal.uid) as work:
            record = pipeline._data(context, work, held)
            work.finish("failed")
        return inputs["data"], record.source_digest, record.version

    first, again, here = sealed(there), sealed(there), sealed("table")
    assert first == again
    assert first[1:] == here[1:]
    put(on_moto, "table/part-1.csv", parts(1)["part-0.csv"])
    changed = sealed(there)
    assert all(one != other for one, other in zip(first, changed, strict=True))


def test_how_an_object_is_written_is_found_as_it_is_of_a_file(on_moto, tmp_path):
    text = TEXT.replace(",", ";")
    (tmp_path / "t.csv").write_text(text)
    there = scaffold.from_table(tmp_path, put(on_moto, "t.csv", text), "y")
    here = scaffold.from_table(tmp_path, tmp_path / "t.csv", "y")
    assert there.data.delimiter == here.data.delimiter == ";"


def test_an_object_that_is_replaced_meanwhile_is_refused(place, monkeypatch):
    monkeypatch.setattr(objects, "BLOCK", 1 << 12)
    said = put(place, "t.csv", TEXT)
    for more in ({}, {"sample": 1000}):
        asked = options(said, **more)
        found = files.once(said, asked)
        put(place, "t.csv", TEXT.replace("p\n", "q\n"))
        with pytest.raises(DataError, match="was changed while it was read"):
            source.read(found, asked)
        put(place, "t.csv", TEXT)
    found = files.once(said, asked)
    before = files.stamp(found)
    assert files.stamp(said) == before
    place[0].delete_object(Bucket=place[1], Key=found[0].key)
    with pytest.raises(DataError, match="was changed while it was read"):
        found[0].digest()
    assert files.stamp(said) == []


def test_an_object_with_the_same_etag_and_other_bytes_is_refused(place, monkeypatch):
    monkeypatch.setattr(objects, "BLOCK", 1 << 12)
    said = put(place, "t.csv", TEXT)
    (found,) = bucket.look(said)
    found.digest()
    put(place, "t.csv", TEXT.replace("p\n", "q\n"))
    (other,) = bucket.look(said)
    found.etag = other.etag  # as if both had the one MD5
    with pytest.raises(DataError, match="was changed while it was read"):
        found.read()


def test_a_run_whose_folder_grows_meanwhile_is_refused(on_moto, tmp_path):
    put(on_moto, "table/a.csv", TEXT)
    said = put(on_moto, "table/", "")
    project = scaffold.create(tmp_path / "p", scaffold.from_table(tmp_path / "p", said, "y"))
    context = runs.run_context(project)
    tools = pipeline.data_tools(context)

    def progress(text, *_):
        if text == "sealing":
            put(on_moto, "table/b.csv", TEXT)

    with pytest.raises(DataError, match="was changed while it was read"):
        stage.seal(dataclasses.replace(tools, progress=progress))


def test_a_sample_asks_for_each_block_once_a_pass_and_keeps_few(place, monkeypatch, tmp_path):
    monkeypatch.setattr(objects, "BLOCK", 1 << 18)
    head, _, rows = TEXT.partition("\n")
    text = f"{head}\n{rows * 200}"
    asked = options(put(place, "t.csv", text), sample=1000)
    asked_for, most, fetched = [], [], objects.Bucket._fetched

    def counted(self, held, number):
        asked_for.append(number)
        most.append(len(self._blocks))
        return fetched(self, held, number)

    monkeypatch.setattr(objects.Bucket, "_fetched", counted)
    (found,) = files.once(asked.source, asked)
    rows = [piece.num_rows for piece in files.pieces([found], asked, (), [])]
    assert sum(rows) == 200 * ROWS
    assert found.blocks > 3 * objects.KEPT
    assert len(asked_for) <= found.blocks + objects.KEPT  # the first ones tell the format
    assert max(most) <= objects.KEPT + 1
    before = len(asked_for)
    assert found.digest() == sha256(text.encode())
    assert len(asked_for) == before


def test_names_that_no_file_could_have_are_names(place, aws, tmp_path):
    client, _, prefix = place
    moto = client.meta.endpoint_url == aws.endpoint
    # SeaweedFS takes no key of 1,024 bytes, moto none with a line's end
    name = "k" * (1024 - len(prefix)) if moto else "a\n\x1b[2Jb ü?#%2e.csv"
    said = put(place, name, TEXT)
    asked = options(said)
    table, findings = source.read(files.once(said, asked), asked)
    assert table.num_rows == ROWS
    assert all("\n" not in one.message and "\x1b" not in one.message for one in findings)
    with pytest.raises(ConfigError, match="longer than 1,024 bytes"):
        bucket.look(said + "k" * 1024)


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ("s3://ready/{prefix}none.csv", ConfigError, "there is no object .* ends with /"),
        ("s3://ready/{prefix}none/", ConfigError, "there is no file in"),
        ("s3://ready/{prefix}hidden/", ConfigError, "there is no file in"),
        ("s3://ready/{prefix}empty.csv", DataError, "is empty"),
        ("s3://not-there-at-all/t.csv", ConfigError, "no bucket 'not-there-at-all' at http"),
        ("s3://me:swordfish@ready/t.csv", ConfigError, "holds credentials"),
        ("s3://localhost:9000/ready/t.csv", ConfigError, "AWS_ENDPOINT_URL_S3"),
        ("s3://ready/a/../t.csv", ConfigError, r"\. or \.\. among"),
    ],
)
def test_what_is_wrong_with_an_address_is_said(on_moto, said, kind, words):
    put(on_moto, "empty.csv", "")
    put(on_moto, "hidden/_t.csv", TEXT)
    with pytest.raises(kind) as caught:
        table = options(said.format(prefix=on_moto[2]))
        source.read(files.once(table.source, table), table)
    assert re.search(words, caught.value.diagnostics(), re.DOTALL)
    assert SECRET not in caught.value.diagnostics()


def told(said):
    with pytest.raises(Error) as caught:
        bucket.look(said)
    return type(caught.value), caught.value.diagnostics()


def test_who_must_act_is_said_where_a_server_refuses(on_moto, monkeypatch, aws):
    import boto3

    said = put(on_moto, "t.csv", TEXT)
    key = said.removeprefix("s3://")
    admin = boto3.client("iam", endpoint_url=aws.endpoint, region_name="us-east-1")
    user = f"u-{on_moto[2].strip('/')}"
    admin.create_user(UserName=user)
    made = admin.create_access_key(UserName=user)["AccessKey"]
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", made["AccessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", made["SecretAccessKey"])

    def enforce(most):
        """How many calls moto lets pass before it asks who may."""
        switch = f"{aws.endpoint}/moto-api/reset-auth"
        assert urllib3.request("POST", switch, body=most).status == 200

    enforce(b"0")
    try:
        denied, listing = told(said), told(said.removesuffix("t.csv"))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN")
        unknown = told(said)
    finally:
        enforce(b"inf")
    assert denied[0] is BackendError and f"s3:GetObject on arn:aws:s3:::{key}" in denied[1]
    assert listing[0] is BackendError and "s3:ListBucket on arn:aws:s3:::ready " in listing[1]
    assert unknown[0] is BackendError and "does not know these credentials" in unknown[1]
    assert all(made["SecretAccessKey"] not in text for _, text in (denied, listing, unknown))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert "there are no credentials" in told(said)[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3.example.org")
    assert "must use https" in told(said)[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://me:{SECRET}@127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    away = told(said)
    assert away[0] is TransientError and "no answer from http://127.0.0.1" in away[1]
    assert SECRET not in away[1]


@pytest.fixture
def odd_server(monkeypatch):
    """A server that answers as its list of manners says, in turn; the last one stays."""
    manners, body = [], TEXT.encode()

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            manner = manners.pop(0) if len(manners) > 1 else manners[0]
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            part = body[int(first) : int(last) + 1]
            self.send_response(206)
            self.send_header("ETag", '"2"' if manner == "replaced" else '"1"')
            if manner != "whole":
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
            self.send_header("Content-Length", str(len(part)))
            self.end_headers()
            self.wfile.write(part[: len(part) // 2] if manner == "broken" else part)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "a")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
    yield manners
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("manners", "kind", "words"),
    [
        (["well", "broken", "well"], None, ""),
        (["well", "broken"], TransientError, "no answer from"),
        (["whole"], BackendError, "does not answer in ranges"),
        (["well", "replaced"], DataError, "was changed while it was read"),
    ],
)
def test_a_server_that_breaks_off_is_asked_again_and_one_that_minds_nothing_refused(
    odd_server, manners, kind, words
):
    odd_server += manners
    with contextlib.nullcontext() if kind is None else pytest.raises(kind, match=words):
        assert bucket.look("s3://ready/t.csv")[0].read() == TEXT.encode()


def test_a_further_table_may_lie_in_a_bucket(on_moto, tmp_path):
    (tmp_path / "t.csv").write_text(TEXT)
    asked = options("t.csv")
    table, _ = source.read(tmp_path / "t.csv", asked)
    schema, _ = schemas.infer(table, asked)
    later = put(on_moto, "later.csv", TEXT)
    found = further.read(files.beside(tmp_path, later), asked, schema)
    assert found.equals(further.read(files.beside(tmp_path, "t.csv"), asked, schema))


def test_versions_of_objects_are_in_the_record(on_moto):
    client, _, prefix = on_moto
    client.create_bucket(Bucket=f"v{prefix.strip('/')}")
    kept = (client, f"v{prefix.strip('/')}", "")
    client.put_bucket_versioning(Bucket=kept[1], VersioningConfiguration={"Status": "Enabled"})
    said = put(kept, "t.csv", TEXT)
    version = client.head_object(Bucket=kept[1], Key="t.csv")["VersionId"]
    _, findings = source.read(files.once(said, options(said)), options(said))
    assert [one.message for one in findings if one.id == "data.bucket"] == [
        f"read from a bucket: {said}, version {version}"
    ]


def test_a_list_names_files_and_no_bucket():
    with pytest.raises(ConfigError, match="a list names files"):
        config.require_possible(options(["a.csv", "s3://b/c.csv"]))
    with pytest.raises(ConfigError, match="holds credentials") as caught:
        config.require_possible(options(f"s3://me:{SECRET}@b/c.csv"))
    assert SECRET not in json.dumps(caught.value.message)


def test_an_address_of_a_further_table_with_credentials_is_refused_before_anything_is_read():
    with pytest.raises(ConfigError, match="tables.later holds credentials") as caught:
        config.parse(TOML, [f'assess.tables.later="s3://me:{SECRET}@b/c.csv"'])
    assert SECRET not in caught.value.diagnostics()
    assert config.parse(TOML, ['assess.tables.later="s3://b/c@d.csv"']).assess.tables
