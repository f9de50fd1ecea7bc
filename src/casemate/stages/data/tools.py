"""What the data stage works with."""

import dataclasses
import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from casemate.config import Config
from casemate.controls.keys.identifiers import Identifiers
from casemate.controls.keys.interface import KeyProvider
from casemate.controls.keys.objects import ObjectStore
from casemate.controls.privacy.consents import Usable
from casemate.controls.privacy.erasures import Erased
from casemate.core.sandbox.conversation import Progress
from casemate.core.signatures import Signer
from casemate.core.types import SealedDataset
from casemate.stages.data import files
from casemate.stages.data.lessons import Lessons
from casemate.stages.data.review import Review

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class DataTools:
    """What the stage works with."""

    root: Path
    config: Config
    datasets: Path
    objects: ObjectStore
    keys: KeyProvider
    identifiers: Identifiers
    signer: Signer
    now: datetime.datetime
    progress: Progress
    previous: SealedDataset | None
    """The newest sealed version, whose files are shared when this one only adds rows."""
    reference: SealedDataset | None = None
    """The version whose statistics this one is compared with."""
    reviews: dict[str, Review] = dataclasses.field(default_factory=dict)
    """What people decided about rows, by row digest."""
    held: files.Place | None = None
    """What a database answered, or which objects a bucket has, where it was asked already."""
    lessons: Lessons | None = None
    """Rows of feedback that come behind the source's."""
    usable: Usable = dataclasses.field(default_factory=Usable)
    """Whose rows may be taken."""
    erased: Erased | None = None
    """Whose rows may not be taken; None: nobody was erased."""
    leaks: bool = True
    """Whether features that know the answer are looked for: where only rows are asked for, nobody
    would hear of them.
    """

    @property
    def place(self) -> files.Place:
        """Where the table is; a database or bucket is asked here, if it was not before."""
        options = self.config.data
        return (
            files.once(files.place(self.root, options.source), options)
            if self.held is None
            else self.held
        )

    def require_unchanged(self, before: list[Any]) -> None:
        """DataError when the source is another one than when its stamp was `before`."""
        source = self.config.data.source
        if files.stamp(files.place(self.root, source)) != before:
            raise files.changed(source)

    def asked(self) -> "DataTools":
        """With what a database or bucket says now, so that every look is at the same rows."""
        return dataclasses.replace(self, held=self.place)
