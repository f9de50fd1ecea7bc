"""How the image of the gateway begins, and where in it what lies."""

PACKAGES = "opt/casemate/lib"
"""Where the packages are: nothing else in the image is touched."""
USER = 65532
"""Nobody's number in any distribution; the one of distroless images."""
MODEL, KEYS, PROJECT, RUN = "/model", "/keys", "/project", "/run/casemate"
"""What is mounted: the model, its owner's public keys, the gateway's casemate.toml and state; and
where the verified model goes.
"""
ENVIRONMENT = {
    "HOME": RUN,
    "PYTHONDONTWRITEBYTECODE": "1",
    # packages in HOME, which is a volume, would run before anything is verified
    "PYTHONNOUSERSITE": "1",
    "PYTHONPATH": "/" + PACKAGES,
    "PYTHONSAFEPATH": "1",
    "PYTHONUNBUFFERED": "1",
}
COMMAND = ["-m", "casemate"]
ENTRYPOINT = [
    *COMMAND,
    *("verify", MODEL, "--key", KEYS, "--require", "approved"),
    *("--into", f"{RUN}/model", "--then"),
]
"""Behind the interpreter: whatever the container is told to start, this is before it."""
CMD = [*COMMAND, "serve", "--config", PROJECT, "--release", f"{RUN}/model"]
"""What is started when nothing else is said: a gateway that serves what was just verified."""
