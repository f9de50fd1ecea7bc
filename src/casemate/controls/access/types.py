"""The one word for whoever acts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Principal:
    """Somebody who acts."""

    kind: str
    """`User` or `Service`."""
    name: str
    roles: tuple[str, ...]
    models: tuple[str, ...] = ()
    """Services: models that they may ask; `*` for all."""
    mfa: bool = False
    """Users: a second factor is enrolled."""

    @property
    def uid(self) -> str:
        """Cedar's name for it, such as `User::"ana"`."""
        return f'{self.kind}::"{self.name}"'
