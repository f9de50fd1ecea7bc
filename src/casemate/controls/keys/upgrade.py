"""Key stores of older versions of casemate in the format of this one."""

from pathlib import Path

from casemate.config import KeysTable
from casemate.controls.keys import keyfile
from casemate.controls.keys.file import FileKeys
from casemate.controls.keys.identity import Identity
from casemate.controls.keys.interface import PURPOSES
from casemate.controls.keys.keyfile import Document, DocumentV1, Kek
from casemate.controls.keys.store import KeyStore

V1_CREATED = "1970-01-01T00:00:00+00:00"
"""casemate 0.1 kept no dates: its keys are overdue by any policy."""


def upgrade_keys(folder: Path, project: str, table: KeysTable) -> KeyStore:
    """The key store in this version's format, with every KEK that it needs; written only when
    something was missing.
    """
    old = keyfile.read(folder)
    if not isinstance(old, DocumentV1):
        store = KeyStore.open(folder, table)
        if set(PURPOSES) - set(store.provider.versions()):
            store.provider.prepare()
        return store
    keks = {
        key: {
            number: Kek("active" if number == max(versions) else "decrypt-only", V1_CREATED, kek)
            for number, kek in versions.items()
        }
        for key, versions in old.keks.items()
    }
    keys = FileKeys(folder, Document(keyfile.VERSION, project, "file", None, keks, None), None)
    keys.complete()
    store = KeyStore(folder, keys.document, keys)
    store.keep(
        Identity(
            old.signer_ecdsa,
            old.signer_mldsa65,
            old.log_ed25519,
            old.log_mldsa44,
            old.ca_key,
            old.ca_certificate,
        )
    )
    return store
