"""A model on its way from the registry into the gateway: approved, verified, signed for this stage;
and whether that still holds.
"""

from casemate.core.errors import ConfigError, RefusedError, VerificationError, WrongSigner
from casemate.core.sandbox.session import Surroundings
from casemate.operations.approved import require_approved
from casemate.operations.rights.kept import require_kept
from casemate.serve.endpoint import Endpoint
from casemate.wiring import Wiring


def loaded(project: Wiring, reference: str) -> Endpoint:
    """A model from the registry: approved, not withdrawn for somebody whose rows taught it,
    verified, signed for this stage, loaded.
    """
    table = project.config.serve
    require_approved(project, reference)
    require_kept(project, reference)
    try:
        verified = project.registry.verify(reference)
    except WrongSigner:  # the signer may have changed since this process began
        project.reload_signers()
        verified = project.registry.verify(reference)
    if verified.card.stage != table.stage:
        raise RefusedError(
            f"{reference} is signed for the stage {verified.card.stage!r}, this gateway serves"
            f" {table.stage!r}",
            hint="set [release] stage and run, or [serve] stage",
        )
    missing = project.config.data.null_values
    return Endpoint.load(verified, table, missing, surroundings(project))


def surroundings(project: Wiring) -> Surroundings:
    """What a model's own code may use here, and must not reach."""
    hidden = (project.keystore.folder, project.root)
    return Surroundings(int(project.config.train.memory_gb * 2**30), hidden)


def fault_of(project: Wiring, endpoint: Endpoint) -> str:
    """What is wrong with a model that is served; empty when nothing is."""
    try:
        verified = project.registry.verify(endpoint.reference)
        if project.handed:  # of others its project stops what is released; of this it cannot
            require_kept(project, endpoint.reference)
    except (VerificationError, RefusedError, ConfigError) as error:
        return error.message
    return (
        "" if verified.fingerprint == endpoint.fingerprint else "it is signed by somebody else now"
    )
