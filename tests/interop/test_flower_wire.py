"""Sites and their coordinator talk over a real Flower, which sees none of it."""

import os
import threading
from pathlib import Path

import pytest
from tests.interop.flower import flower
from tests.unit.operations.owners import LEADER, OWNERS, charter, meeting_of

from casemate.controls.federation.messages import Hello, Welcome
from casemate.deploy import flower as target
from casemate.deploy.interface import Given
from casemate.operations.federated.calling import Line
from casemate.operations.federated.carried import Wire
from casemate.operations.federated.listening import listening

pytestmark = pytest.mark.slow
PROGRAMS = "CASEMATE_FLOWER"
"""Variable that names the folder of Flower's programs: pip install flwr==1.41.0, apart from casemate."""
CHARTER = charter(3)


@pytest.fixture(scope="module")
def programs() -> Path:
    given = os.environ.get(PROGRAMS, "")
    if not (Path(given) / "flower-superlink").is_file():
        pytest.skip(f"{PROGRAMS} names no folder with Flower's programs")
    return Path(given)


def test_each_site_is_heard_as_itself_over_flower(
    programs: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tmp_path = tmp_path_factory.mktemp("f")  # a socket has a short path
    tmp_path.chmod(0o700)
    lead = tmp_path / "lead.sock"
    files = target.render(
        Given(None, tmp_path, tmp_path, {"lead": f"unix:{lead}"})  # type: ignore[arg-type]
    ).files
    for name, content in files.items():
        (tmp_path / "wire" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "wire" / name).write_bytes(content)
    heard: dict[int, list[object]] = {0: [], 1: []}

    def say(number: int, wire: Wire) -> None:
        own = OWNERS[number]
        said = Line(CHARTER, own.name, own.authority, tmp_path, dial=wire.dial)
        for _ in range(2):
            heard[number].append(said.say(Hello(charter=CHARTER.digest, versions={})))
        said.close()

    with (
        listening(meeting_of(CHARTER, poll=0.1), LEADER.authority, tmp_path, lead, 100_000),
        flower(programs, tmp_path) as running,
    ):
        wires = {number: Wire(tmp_path / f"{number}.sock") for number in heard}
        for number in heard:
            running.node(f"n{number}", f'casemate="{tmp_path / f"{number}.sock"}"')
        running.flwr("run", "wire", "tls")
        threads = [threading.Thread(target=say, args=one) for one in wires.items()]
        for one in threads:
            one.start()
        for one in threads:
            one.join(150)
        for one in wires.values():
            one.close()
    for number, answers in heard.items():
        assert [isinstance(one, Welcome) and one.site for one in answers] == [number, number]
