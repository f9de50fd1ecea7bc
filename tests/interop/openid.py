"""A real OpenID provider (npm's oidc-provider) and a browser for it, without a window."""

import contextlib
import http.cookiejar
import json
import re
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from tests.interop.npm import installed
from tests.ports import free_port

SOURCE = Path(__file__).with_name("oidc")


class OpenIdProvider:
    """One running provider; `people` says who exists and what its tokens tell of them."""

    def __init__(self, folder: Path) -> None:
        if shutil.which("node") is None:
            pytest.skip("no Node.js: apt-get install nodejs npm")
        installed(SOURCE, folder, "oidc-provider")
        shutil.copy(SOURCE / "provider.mjs", folder / "provider.mjs")
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._people = folder / "people.json"
        self.people({})
        self.process = subprocess.Popen(
            ["node", "provider.mjs", str(self.port), str(self._people)],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        while (line := self.process.stdout.readline()) != "ready\n":
            assert line, "the provider ended"

    def people(self, claims: dict) -> None:
        self._people.write_text(json.dumps(claims))

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)
        self.process.stdout.close()


class Browser:
    """Follows redirects, keeps cookies, and is `account` at the provider."""

    def __init__(self, account: str | None, amr: str = "pwd") -> None:
        self.headers = {"X-Amr": amr} | ({"X-Account": account} if account else {})
        self.opener = urllib.request.build_opener(
            _Stop,
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
            urllib.request.ProxyHandler({}),
        )

    def get(self, url: str, body: dict | None = None) -> tuple[int, str, str]:
        """(status, where it leads, page)."""
        content = None if body is None else urllib.parse.urlencode(body).encode()
        try:
            with self.opener.open(
                urllib.request.Request(url, content, self.headers), timeout=30
            ) as answer:
                return answer.status, "", answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return (
                    error.code,
                    urllib.parse.urljoin(url, error.headers.get("Location", "")),
                    error.read().decode(),
                )

    def log_in(self, url: str) -> str:
        """From the login's address to the one that the provider sends the browser back to."""
        for _ in range(10):
            status, url, page = self.get(url)
            assert status in (302, 303), page
            if "/callback" in url:
                return url
        raise AssertionError("too many redirects")

    def answer(self, url: str) -> dict[str, str]:
        """Parameters that come back."""
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.log_in(url)).query))

    def type_code(self, address: str, code: str) -> None:
        """Log in on another device."""
        _, _, page = self.get(address)
        form = {**dict(re.findall(r'name="(\w+)" value="([^"]*)"', page)), "user_code": code}
        action = re.search(r'action="([^"]+)"', page)[1]
        status, url, page = self.get(action, form)
        if 'name="confirm"' in page:
            status, url, page = self.get(
                action,
                {
                    **form,
                    **dict(re.findall(r'name="(\w+)" value="([^"]*)"', page)),
                    "confirm": "yes",
                },
            )
        while status in (302, 303):
            status, url, page = self.get(url)
        assert page == "done", page


class _Stop(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


@contextlib.contextmanager
def provider(folder: Path):
    """A running provider."""
    running = OpenIdProvider(folder)
    try:
        yield running
    finally:
        running.close()
