"""A process with the injector preloaded and everything imported: it forks one child a trial.

One JSON line a trial on standard input: `{"work", "root", "acks", "at", "mode", "sticky"}`; one
JSON line back: `{"status", "points"}`. The child appends what was acknowledged to `acks`, outside
of the folder where faults happen.
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

MODES = {"off": 0, "kill": 1, "torn": 2, "enospc": 3, "eio": 4}
injector = ctypes.CDLL(os.environ["CASEMATE_INJECTOR"])


def child(trial: dict) -> int:
    from tests.faults import work

    from casemate.core.errors import Error, from_os_error

    acks = os.open(trial["acks"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    injector.fi_arm(
        f"{trial['root']}/.casemate".encode(),
        trial["at"],
        MODES[trial["mode"]],
        int(trial["sticky"]),
    )
    try:
        getattr(work, trial["work"])(
            Path(trial["root"]), lambda text: os.write(acks, f"{text}\n".encode())
        )
        status = 0
    except Error as error:
        os.write(acks, f"! {error.code} {error.message}\n".encode())
        status = error.exit_code
    except OSError as error:
        status = from_os_error(error).exit_code
    finally:
        points = injector.fi_points()
        injector.fi_arm(b"", 0, 0, 0)
        Path(trial["acks"] + ".points").write_text(str(points))
    return status


def main() -> None:
    from tests.faults import work

    import casemate.pipeline
    import casemate.stages.assess.stage
    import casemate.stages.data.stage
    import casemate.stages.release.stage
    import casemate.stages.train.stage  # noqa: F401

    work.warm()
    for line in sys.stdin:
        trial = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 99
            try:
                code = child(trial)
            finally:
                os._exit(code)
        if "kill_after" in trial:
            time.sleep(trial["kill_after"])
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"status": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    main()
