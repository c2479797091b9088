"""The token without which nobody enters a Ray cluster."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from service.errors import ConfigurationError


def keep(environ: Mapping[str, str], *, make: bool) -> None:
    """See that this user has the token.

    Args:
        environ: variables that may name another place for it, or switch it off.
        make: make one up where there is none.

    Raises:
        ConfigurationError: there is none.
    """
    if environ.get("RAY_AUTH_MODE", "token") != "token" or environ.get("RAY_AUTH_TOKEN"):
        return
    path = Path(environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    if path.exists():
        return
    if not make:
        raise ConfigurationError(
            f"There is no {path}, which lets this machine into the cluster; copy it from the head's ~/.ray/auth_token."
        )
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32))
