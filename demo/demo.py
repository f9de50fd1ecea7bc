"""`make demo`: the main job on real data, in a fresh folder, command by command as a user would
type them.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BIN = Path(sys.executable).parent


def step(folder: Path, *words: str) -> str:
    """Show a command, run it, show and return what it prints."""
    print(f"\n$ {' '.join(words)}", flush=True)
    done = subprocess.run(
        [str(BIN / words[0]), *words[1:]],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    print(done.stdout.rstrip(), flush=True)
    if done.returncode:
        sys.exit(f"{words[0]} {words[1]} exited {done.returncode}")
    return done.stdout


def serve_and_predict(project: Path) -> None:
    """Start the gateway on a free port, ask it, stop it."""
    print("\n$ casemate serve --port 0 &", flush=True)
    gateway = subprocess.Popen(
        [str(BIN / "casemate"), "serve", "--port", "0"],
        cwd=project,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        announced = gateway.stdout.readline()
        print(announced.rstrip(), flush=True)
        url = next(word for word in announced.split() if word.startswith("https://"))
        rows = (project / "data" / "wdbc.csv").read_text().splitlines()
        (project / "patients.csv").write_text("\n".join(rows[:6]) + "\n")
        step(project, "casemate", "predict", "patients.csv", "--url", url)
    finally:
        gateway.send_signal(signal.SIGTERM)
        gateway.wait(20)


def main() -> None:
    """Run the tour; everything it makes is removed at the end, keys included."""
    began = time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="casemate-demo-"))
    os.environ["HOME"] = str(home)
    project, exported = home / "clinic", home / "handed-over"
    try:
        step(home, "casemate", "init", "clinic", "--example", "clinical")
        step(project, "casemate", "run")
        step(project, "casemate", "model", "export", "wdbc", str(exported))
        step(home, "casemate", "verify", str(exported))
        command = ["verify", "key", f"{exported}/model", "--signature", f"{exported}/model.sig"]
        # other people's tool, with many packages of its own: `make dev` brings it
        if (BIN / "model_signing").exists():
            step(home, "model_signing", *command, "--public_key", f"{exported}/signer.pub")
        serve_and_predict(project)
        step(project, "casemate", "audit", "verify")
        card = json.loads((exported / "model" / "model.json").read_text())
        print(
            f"\nDone in {time.monotonic() - began:.0f} s: {card['name']}@{card['model_version']}"
            " trained, attacked, signed, verified and served."
        )
        print("Your turn: casemate init my-project --table FILE.csv --target COLUMN")
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    main()
