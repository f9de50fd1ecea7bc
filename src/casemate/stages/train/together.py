"""A model that several owners learnt: what its coordinator's record says of it, and what each site
signed of what it tells of its rows.
"""

from casemate.controls.federation import COORDINATOR
from casemate.controls.federation.cards import Charter, charter_in
from casemate.controls.federation.comparing import record_in, said_in
from casemate.controls.federation.messages import JobRecord
from casemate.controls.federation.statements import MOST, statement_in
from casemate.core.digest import sha256
from casemate.core.errors import VerificationError
from casemate.core.types import Federated, Stated
from casemate.stages.train.tools import TrainTools
from casemate.stages.train.training_code import IMPORTED, record_beside, statements_beside


def owners_of(tools: TrainTools, code: dict[str, bytes]) -> Federated | None:
    """Who learnt an imported model, as the record beside it says; None: there is none.

    Args:
        tools: of the train stage.
        code: what the confined process got: the model.

    Raises:
        VerificationError: the record is of no charter that counts here, its coordinator did not
            sign it, or it is of another file; or what lies beside it as a site's statement is none.
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
        stated=_stated(charter, found, statements_beside(tools.root, tools.config)),
        epsilon=found.epsilon or 0.0,
        delta=(found.delta or 0.0) if found.epsilon else 0.0,
        unit=found.unit,
    )


def _stated(charter: Charter, record: JobRecord, files: dict[str, bytes]) -> list[Stated]:
    """What each site that was heard says of its rows, in the charter's order.

    Raises:
        VerificationError: the record names none, or strangers; or a file is no statement of such a
            site about this model, or a site's second one.
    """
    names = {
        number: card.name
        for number, card in enumerate(charter.sites)
        if card.fingerprint in record.sites
    }
    if not names or len(names) < len(record.sites):
        raise VerificationError(
            "the record beside the imported model does not say which sites of its charter learnt"
            " it",
            hint="take both as casemate federate lead wrote them",
        )
    found: dict[int, Stated] = {}
    for file, content in files.items():
        try:
            if len(content) > MOST:
                raise VerificationError(f"it is larger than {MOST // 1024} KiB")
            said = statement_in(content, charter)
            if said.site not in names or said.site in found:
                raise VerificationError("its site did not take part, or is there twice")
            if (said.job, said.model) != (record.job, record.model):
                raise VerificationError("it is of another job or file")
        except VerificationError as error:
            raise VerificationError(
                f"{file} beside the imported model: {error.message}",
                hint="take it away; its site makes it anew: casemate federate attest",
            ) from error
        found[said.site] = Stated(
            site=names[said.site], statement=sha256(content), leaks=said.leaks
        )
    return [found.get(number, Stated(site=name)) for number, name in names.items()]
