"""A model that several owners learnt: what its coordinator's record says of it."""

from casemate.controls.federation import COORDINATOR
from casemate.controls.federation.cards import charter_in
from casemate.controls.federation.comparing import record_in, said_in
from casemate.core.digest import sha256
from casemate.core.errors import VerificationError
from casemate.core.types import Federated
from casemate.stages.train.tools import TrainTools
from casemate.stages.train.training_code import IMPORTED, record_beside


def owners_of(tools: TrainTools, code: dict[str, bytes]) -> Federated | None:
    """Who learnt an imported model, as the record beside it says; None: there is none.

    Args:
        tools: of the train stage.
        code: what the confined process got: the model.

    Raises:
        VerificationError: the record is of no charter that counts here, its coordinator did not
            sign it, or it is of another file.
    """
    record = record_beside(tools.root, tools.config)
    if record is None:
        return None
    said = said_in(record)
    charter = next(
        (one for one in map(charter_in, tools.charters()) if one.digest == said.charter), None
    )
    if charter is None:
        raise VerificationError(
            "the record beside the imported model is of a charter that does not count here, so"
            " nobody can say who learnt it",
            hint="casemate federate approve its charter; or import the model without its record",
        )
    found = record_in(record, charter)
    if found.site != COORDINATOR:
        raise VerificationError(
            "the record beside the imported model is a site's own", hint="take its coordinator's"
        )
    (model,) = (code[name] for name in IMPORTED.values() if name in code)
    if found.model != sha256(model):
        raise VerificationError(
            "the record beside the imported model is of another file",
            hint="take both as casemate federate lead wrote them",
        )
    return Federated(
        record=sha256(record),
        charter=found.charter,
        job=found.job,
        coordinator=found.party,
        rounds=len(found.rounds),
        sites=found.sites,
    )
