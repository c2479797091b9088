"""`python -m service.healthcheck`: exit code 0 if the service that these settings start can answer.

It asks the address that the environment names, by the rules of the service, and never by way of a proxy.
"""

from __future__ import annotations

import http.client
import os
import sys
from collections.abc import Mapping
from urllib.request import ProxyHandler, build_opener

from service.errors import ConfigurationError
from service.settings import parse

TIMEOUT_S = 4.0
# What a service that listens on all addresses answers at.
OWN = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def address(environ: Mapping[str, str]) -> str:
    """Where the service of these settings says whether it is ready.

    Raises:
        ConfigurationError: the settings are wrong.
    """
    config = parse([], environ)
    host = OWN.get(config.host, config.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{config.port}/readyz"


def main(environ: Mapping[str, str] = os.environ) -> int:
    try:
        url = address(environ)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=TIMEOUT_S):
            return 0
    except (OSError, http.client.HTTPException) as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
