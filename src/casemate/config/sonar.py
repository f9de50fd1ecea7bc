"""`[scan.sonar]`: the SonarQube server that is asked."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import Authority, Table


class SonarTable(Table, frozen=True, kw_only=True):
    """`[scan.sonar]`: the SonarQube server that `casemate scan sonar` asks."""

    url: Annotated[
        str,
        Meta(
            description=(
                "Its address, https (http to this machine only), such as"
                " `https://sonar.example.org`; without one nobody is asked."
            ),
            pattern=r"^(https?://[^\s?#@]+)?$(?!\n)",
        ),
    ] = ""
    project: Annotated[
        str,
        Meta(
            description="The project's key over there.",
            pattern=r"^([A-Za-z0-9_.:-]{1,400})?$(?!\n)",
        ),
    ] = ""
    branch: Annotated[
        str, Meta(description="Whose state counts; default: the main branch.", max_length=255)
    ] = ""
    token: Annotated[
        Annotated[str, Meta(pattern=r"^(env|file|vault|aws-sm):.+$(?!\n)")] | None,
        Meta(
            description=(
                "Reference to a user's token: `env:NAME`, `file:PATH`, `vault:…` or `aws-sm:…`."
            )
        ),
    ] = None
    ca: Authority = None
    timeout: Annotated[
        float, Meta(description="Seconds that a step of a request may take.", gt=0, le=120)
    ] = 10.0
