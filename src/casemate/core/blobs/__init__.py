"""Where sealed objects lie: named byte strings in a folder or in an S3-compatible bucket. What they
mean is not known here.
"""

from pathlib import Path

from casemate.core.blobs.client import S3Place
from casemate.core.blobs.files import FileBlobs
from casemate.core.blobs.interface import Blobs, Draft
from casemate.core.blobs.s3 import S3Blobs

__all__ = ["Blobs", "Draft", "FileBlobs", "S3Blobs", "S3Place", "open_blobs", "require_conditions"]


def open_blobs(place: S3Place | None, folder: Path, scratch: Path) -> Blobs:
    """The bucket at `place`, or `folder` when there is none.

    Raises:
        BackendError: the S3 client is not installed.
    """
    return FileBlobs(folder) if place is None else S3Blobs(place, scratch)


def require_conditions(blobs: Blobs) -> None:
    """BackendError when a server writes over what is there although it is asked not to."""
    if isinstance(blobs, S3Blobs):
        blobs.require_conditions()
