"""`[store]`: where catalogue and sealed objects are."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import Table


class StoreTable(Table, frozen=True, kw_only=True):
    """Where runs, models, principals and the log's entries are kept, and sealed objects."""

    url: Annotated[
        str,
        Meta(
            description=(
                "Empty: SQLite in `.casemate/catalog.db`. Or"
                " `postgresql://USER@HOST:PORT/DATABASE`."
            )
        ),
    ] = ""
    password: Annotated[
        str | None,
        Meta(description="Reference to the database password: `env:NAME` or `file:PATH`."),
    ] = None
    objects: Annotated[
        str,
        Meta(
            description="Sealed objects; empty: in `.casemate/objects`. Or `s3://BUCKET/PREFIX`.",
            pattern=r"^(s3://.+)?$(?!\n)",
        ),
    ] = ""
    endpoint: Annotated[
        str | None, Meta(description="Of an S3 server that is not AWS: `https://HOST:PORT`.")
    ] = None
    region: Annotated[str | None, Meta(description="Of the bucket.")] = None
    access_key: Annotated[
        str | None,
        Meta(description="Reference to the access key; default: as the AWS SDK finds it."),
    ] = None
    secret_key: Annotated[
        str | None,
        Meta(description="Reference to the secret key; default: as the AWS SDK finds it."),
    ] = None
