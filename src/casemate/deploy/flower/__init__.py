"""`casemate deploy flower`: a Flower app that carries what sites and their coordinator say, for
those who run a SuperLink already. It sees TLS from end to end, and holds no key. For Flower 1.41.
"""

from importlib import resources

from casemate.core.errors import ConfigError
from casemate.core.http import host_and_port
from casemate.deploy.interface import Given, Rendering
from casemate.deploy.templates import environment

FLOWER = "1.41.0"
"""The version that it was tried with; each release moves commands."""
PACKAGE = "casemate_wire"
FILES = ("client_app.py", "server_app.py")


def render(given: Given) -> Rendering:
    """The app; ConfigError: nobody could dial the coordinator."""
    import tomlkit

    lead = given.options["lead"]
    if not lead.startswith("unix:/"):
        try:
            host_and_port(lead)
        except ValueError as error:
            raise ConfigError(
                f"--lead {lead}: neither HOST:PORT nor unix:/SOCKET",
                hint="as `casemate federate lead --listen` has it",
            ) from error
    jinja = environment("casemate.deploy.flower")
    values = {
        "flower": FLOWER,
        "package": PACKAGE,
        "lead": lead,
        "quoted": tomlkit.string(lead).as_string(),
    }
    texts = {
        "pyproject.toml": "pyproject.toml.jinja",
        "README.md": "README.md.jinja",
        **{f"{PACKAGE}/{name}": f"{name}.jinja" for name in FILES},
    }
    files = {
        name: jinja.get_template(template).render(**values).encode()
        for name, template in texts.items()
    }
    files[f"{PACKAGE}/__init__.py"] = b'"""Carries connections that it cannot read."""\n'
    files[f"{PACKAGE}/wire.py"] = (
        resources.files("casemate.controls.federation").joinpath("wire.py").read_bytes()
    )
    return Rendering(files)
