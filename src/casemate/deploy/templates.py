"""Templates of the files that are rendered."""

import functools

from jinja2 import Environment, PackageLoader, StrictUndefined

from casemate.deploy.quoting import in_groovy, in_yaml, one_line


@functools.cache
def environment(package: str) -> Environment:
    """Jinja for the templates in a package; a name that nobody gave a value is an error, and so is
    a value that would begin a new line.
    """
    jinja = Environment(
        loader=PackageLoader(package, ""),
        undefined=StrictUndefined,
        finalize=one_line,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - no HTML: each package quotes as its files need it
    )
    jinja.filters |= {"yaml": in_yaml, "groovy": in_groovy}
    return jinja
