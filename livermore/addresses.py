"""Does an address of a store carry its password and its data readable through a network that is not ours?"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import parse_qsl, urlsplit

_PLAIN = ("redis", "amqp", "sentinel", "postgres", "postgresql", "psql", "pgsql")
_SECURED = ("rediss", "amqps")
_TLS_MODES = ("require", "verify-ca", "verify-full")


def exposed(url: str) -> str:
    """Why such an address must not be used, "" when it may be.

    Plain text may go to this machine and through private networks (RFC 1918, ULA, link-local, and 100.64/10, which
    overlay networks use). A name is judged by what it resolves to; one that does not resolve leads nowhere.
    """
    for part in url.split(";"):
        parts = urlsplit(part)
        options = dict(parse_qsl(parts.query))
        host = parts.hostname or ""
        if parts.scheme in _SECURED:
            if options.get("ssl_cert_reqs", "").lower() in ("none", "cert_none"):
                return f"{host}: TLS without a look at the certificate (ssl_cert_reqs=none) proves nothing"
        elif parts.scheme in _PLAIN and options.get("sslmode") not in _TLS_MODES and not _is_private(host):
            return f"{host} is reached in plain text through a public network"
    return ""


def _is_private(host: str) -> bool:
    if not host:
        return True  # a socket file
    try:
        found = {ipaddress.ip_address(host)}
    except ValueError:
        try:
            found = {ipaddress.ip_address(str(told[4][0]).partition("%")[0]) for told in socket.getaddrinfo(host, None)}
        except OSError:
            return True
    return not any(address.is_global for address in found)
