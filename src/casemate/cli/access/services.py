"""Services and their tokens."""

import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from casemate.controls.access.identity.tokens import IssuedToken

MAX_DAYS = 3650


def _token_create(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit
    from casemate.controls.access.identity.tokens import TokenLimits
    from casemate.core.errors import ConfigError
    from casemate.core.files import write_atomic

    if arguments.out and arguments.out.exists():
        raise ConfigError(f"{arguments.out} exists already", hint="name a new file")
    if not 0 < arguments.days <= MAX_DAYS:
        raise ConfigError(
            f"--days {arguments.days:g}: a token lives more than 0 and at most {MAX_DAYS} days"
        )
    roles, models = arguments.role or ["client"], arguments.model or ["*"]
    certificate = None if arguments.certificate is None else _thumbprint(arguments.certificate)
    limits = TokenLimits(
        tuple(arguments.only), tuple(arguments.network), arguments.rate, certificate
    )
    token, identifier = project.access.create_token(
        arguments.service, roles, models, datetime.timedelta(days=arguments.days), limits
    )
    if arguments.out:
        write_atomic(arguments.out, token.encode() + b"\n")
        emit(
            arguments,
            {"id": identifier, "file": str(arguments.out)},
            f"token {identifier} written to {arguments.out}",
        )
    else:
        emit(arguments, {"id": identifier, "token": token}, token)
    return 0


def _thumbprint(path: Any) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    from casemate.core.digest import sha256
    from casemate.core.errors import ConfigError

    try:
        return sha256(x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is not a certificate", hint="the client's cert.pem") from error


def _token_list(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table

    tokens = project.access.tokens()
    rows = [[one.id, one.service, one.expires, one.revoked, _limits(one)] for one in tokens]
    emit(arguments, tokens, table(["id", "service", "expires", "revoked", "only"], rows))
    return 0


def _limits(token: "IssuedToken") -> str:
    said = [*token.actions, *(f"from {network}" for network in token.networks)]
    said += [f"{token.rate} a minute"] if token.rate else []
    return ", ".join([*said, *(["with its certificate"] if token.certificate else [])])


def _token_revoke(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    project.access.revoke_token(arguments.id)
    emit(
        arguments,
        {"revoked": arguments.id},
        f"revoked {arguments.id}; running gateways refuse it within a second",
    )
    return 0


def _service_add(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    roles, models = arguments.role or ["client"], arguments.model or ["*"]
    project.access.add_service(arguments.name, roles, models, by_certificate=arguments.certificate)
    how = (
        f"casemate keys certificate issue client {arguments.name} --out DIR"
        if arguments.certificate
        else "name it in [access.workloads.NAME] services"
    )
    emit(
        arguments,
        {"service": arguments.name, "roles": roles, "models": models},
        f"{arguments.name} is registered; next: {how}",
    )
    return 0


def _service_list(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit, table

    found = project.access.services()
    value = [{"service": p.name, "roles": list(p.roles), "models": list(p.models)} for p in found]
    emit(
        arguments,
        value,
        table(
            ["service", "roles", "models"],
            [[p.name, ", ".join(p.roles), ", ".join(p.models)] for p in found],
        ),
    )
    return 0


def _service_remove(arguments: Any, project: Any) -> int:
    from casemate.cli.output import emit

    count = project.access.remove_service(arguments.name)
    emit(
        arguments,
        {"removed": arguments.name, "tokens": count},
        f"{arguments.name} is forgotten, with {count} tokens",
    )
    return 0


VERBS = {
    "token create": _token_create,
    "token list": _token_list,
    "token revoke": _token_revoke,
    "service add": _service_add,
    "service list": _service_list,
    "service remove": _service_remove,
}
