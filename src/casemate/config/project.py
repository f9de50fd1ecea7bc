"""`[project]`: who this project is."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import Name, Table


class ProjectTable(Table, frozen=True, kw_only=True):
    """Who this project is."""

    name: Annotated[
        Name, Meta(description="Project name; also the model's and the data set's default name.")
    ]
    id: Annotated[
        Name,
        Meta(
            description="Names the key store folder `~/.config/casemate/<id>`; written by `init`."
        ),
    ]
    purpose: Annotated[
        str, Meta(description="Why the data is processed; part of every decision and record.")
    ] = "unspecified"
