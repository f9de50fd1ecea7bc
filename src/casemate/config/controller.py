"""`[controller]`: who is answerable for the data, and what only people can say in its records."""

from typing import Annotated

from msgspec import Meta

from casemate.config.table import Table, Url

Words = Annotated[str, Meta(max_length=2_000)]
Listed = Annotated[list[Annotated[str, Meta(min_length=1, max_length=500)]], Meta(max_length=100)]


class ControllerTable(Table, frozen=True, kw_only=True):
    """What records say of whoever is answerable; what is missing stands there as to be completed.

    None of it decides anything: a change trains no model anew.
    """

    name: Annotated[Words, Meta(description="The controller, or who provides the system.")] = ""
    contact: Annotated[Words, Meta(description="Address of the controller.")] = ""
    joint: Annotated[
        Listed | None,
        Meta(description="Joint controllers, each with contact; `[]`: there are none."),
    ] = None
    representative: Annotated[
        Words, Meta(description="Representative in the Union with contact, or why none is needed.")
    ] = ""
    officer: Annotated[
        Words, Meta(description="Data protection or privacy officer with contact, or why none is.")
    ] = ""
    authority: Annotated[
        Words, Meta(description="The supervisory authority that people can complain to.")
    ] = ""
    purpose: Annotated[
        Words, Meta(description="`[project] purpose` in words that anybody understands.")
    ] = ""
    people: Annotated[
        Listed | None, Meta(description="Categories of people in the data, such as `patients`.")
    ] = None
    origin: Annotated[
        Words, Meta(description="Where the data comes from, if not from the people themselves.")
    ] = ""
    recipients: Annotated[
        Listed | None, Meta(description="Categories of recipients; `[]`: there are none.")
    ] = None
    transfers: Annotated[
        Listed | None,
        Meta(description="Third countries with the safeguard of each; `[]`: there are none."),
    ] = None
    erasure: Annotated[
        Words, Meta(description="After which time, or by which rule, data is erased at its source.")
    ] = ""
    deidentified: Annotated[
        Words,
        Meta(
            description=(
                "File with what `casemate privacy deidentify --format json` printed of the source:"
                " the assessment of impact takes k, l and t from it, if it is of this source."
            )
        ),
    ] = ""
    licence: Annotated[
        Words, Meta(description="Under which terms others may use the data set.")
    ] = ""
    url: Annotated[Url | None, Meta(description="Where others read of the data set.")] = None
    said: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=100)], Words],
        Meta(
            description=(
                "What people say of points that nothing else answers, by `RECORD/POINT` as"
                " `casemate privacy record show RECORD` lists them, such as `dpia/35(7)(b)`."
            )
        ),
    ] = {}
