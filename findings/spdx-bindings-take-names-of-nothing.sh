#!/bin/bash
# spdx-python-model 0.0.6 (the SPDX project's bindings of SPDX 3.0.1): what a relationship leads to is not looked at, not even within SPDX's own names.
#
# Expected: the bindings refuse values that are not of the model, as they do for enumerations; so a licence that is none, and an IRI
# below https://spdx.org/rdf/3.0.1/terms/ that the model does not define, are refused, or reported when they are read.
# Seen, all of them without an error or a warning, written and read again:
#  1. hasDeclaredLicense leads to .../terms/Licensing/NoAssertion, which is nothing: the individual is called
#     .../terms/ExpandedLicensing/NoAssertionLicense.
#  2. hasDeclaredLicense leads to a package, though the specification has a licence there.
# Who reads what was written finds the first in `missing_ids` (so: read it again and look); of the second nothing tells.
#
# Exits with an error as soon as one of them changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check spdx-python-model==0.0.6 2>/dev/null
"$folder/env/bin/python" -W error - <<'PY'
import datetime
import io

from spdx_python_model.bindings import v3_0_1 as spdx

NOTHING = "https://spdx.org/rdf/3.0.1/terms/Licensing/NoAssertion"
RIGHT = spdx.expandedlicensing_IndividualLicensingInfo.NoAssertionLicense


def same(number, seen, expected):
    print(number, seen)
    if seen != expected:
        raise SystemExit(f"{number}: the behaviour has changed")


def read_again(to):
    """What is missing, and where the relationship leads, once it was written and read."""
    time = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
    made = spdx.CreationInfo(specVersion="3.0.1", created=time)
    author = spdx.Organization(spdxId="urn:x#author", creationInfo=made, name="author")
    made.createdBy = [author]
    package = spdx.software_Package(spdxId="urn:x#package", creationInfo=made, name="package")
    relation = spdx.Relationship(
        spdxId="urn:x#relation",
        creationInfo=made,
        from_=package,
        relationshipType=spdx.RelationshipType.hasDeclaredLicense,
        to=[package if to is None else to],
    )
    written = spdx.SHACLObjectSet()
    for one in (made, author, package, relation):
        written.add(one)
    buffer = io.BytesIO()
    spdx.JSONLDSerializer().write(written, buffer)
    buffer.seek(0)
    found = spdx.SHACLObjectSet()
    spdx.JSONLDDeserializer().read(buffer, found)
    (relation,) = found.foreach_type("Relationship")
    (to,) = relation.to
    return {str(one) for one in found.missing_ids}, to if isinstance(to, str) else to.spdxId


same(1, read_again(NOTHING)[1], NOTHING)
same(2, read_again(None), (set(), "urn:x#package"))
same(1, [read_again(one)[0] for one in (NOTHING, RIGHT)], [{NOTHING}, set()])
try:
    spdx.software_Package().software_primaryPurpose = "https://spdx.org/rdf/3.0.1/terms/Software/SoftwarePurpose/nothing"
except ValueError:
    print("an enumeration's value is refused")
PY
