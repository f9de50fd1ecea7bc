"""A model with code of its own behind the gateway: it is asked in a sandbox, and nothing of it is
constructed here.

The sandbox has no network, no keys, and no file of the project's; a kernel that cannot confine
serves no such model, whatever `[sandbox] mode` says. A process that ended is started again for the
next question. Code that tries what the sandbox refuses is not asked again.
"""

import contextlib

import pandas as pd

from casemate.core.errors import SandboxError, VerificationError
from casemate.core.findings import attempts
from casemate.core.sandbox.session import Session, Surroundings
from casemate.core.types import Schema
from casemate.ml.own.asked import AskedModel, OwnCodeFailed
from casemate.ml.own.line import Array, Line
from casemate.stages.release.bundle import VerifiedModel

PROCESS = "casemate.ml.own.process:main"
SILENT_SECONDS = 60.0
"""How long it may take to start, or to answer: as long as a worker of the gateway may take to start
(`serve.workers`). What stands still for less is the supervisor's affair, which knows the model.
"""


class ConfinedModel:
    """See `ml.models.Model`."""

    def __init__(self, verified: VerifiedModel, surroundings: Surroundings) -> None:
        """Start its sandbox, and let it read the model there.

        Raises:
            SandboxError: this kernel cannot confine it. VerificationError: it cannot be read.
        """
        self._verified, self._surroundings = verified, surroundings
        self._session, self._model = self._started()

    @property
    def tried(self) -> str:
        """What its code tried that the sandbox refuses; empty while it tried nothing."""
        told = [one for one in attempts(self._session.findings) if one.severity == "high"]
        return f"its own code did what a model may not: {told[0].message}" if told else ""

    def predict(self, frame: pd.DataFrame) -> tuple[Array, Array]:
        """See `Model.predict`; OwnCodeFailed when there is no sound answer."""
        if self.tried:
            raise OwnCodeFailed(self.tried)
        if self._model.ended:
            self.close()
            self._session, self._model = self._started()
        return self._model.predict(frame)

    def close(self) -> None:
        """End its sandbox."""
        self._model.close()
        self._session.close()

    def _started(self) -> tuple[Session, AskedModel]:
        card, session = self._verified.card, Session(PROCESS, self._surroundings)
        line = Line(session.read, session.write)
        line.seconds = SILENT_SECONDS
        own = card.labels == "own"
        schema: Schema = card.inputs
        try:
            return session, AskedModel(line, self._verified.files, schema, card.order, own=own)
        except VerificationError:
            line.close()
            with contextlib.closing(session):
                fault = session.fault()
            if isinstance(fault, SandboxError):
                raise fault from None
            raise
