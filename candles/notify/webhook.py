"""Signed JSON to an address on the Internet: never to a private one, never along a redirect.

    Livermore-Signature: t=1770000000,v1=<hex HMAC-SHA256 of "1770000000.<body>" under the channel's secret>
    Livermore-Delivery: <the same for every try of one message>
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

import urllib3
from django.conf import settings

from livermore.core.errors import InvalidInput

TIMEOUT_S = 10.0
LONGEST_ADDRESS = 500
_TOO_MANY, _GONE = 429, 410


class NotSent(Exception):
    """The message has not arrived; `retry_s` is when the receiver wants it again, `is_final` that it never does."""

    def __init__(self, why: str, *, retry_s: float | None = None, is_final: bool = False) -> None:
        super().__init__(why)
        self.retry_s, self.is_final = retry_s, is_final


def send(address: str, secret: str, delivery: str, body: bytes) -> None:
    """Post it; raises `NotSent`."""
    try:
        parts, ip = check(address)
    except InvalidInput as error:
        raise NotSent(str(error), is_final=True) from None
    at = str(int(time.time()))
    headers = {
        "Host": parts.netloc.rpartition("@")[2],
        "Content-Type": "application/json",
        "User-Agent": "Livermore",
        "Livermore-Delivery": delivery,
        "Livermore-Signature": f"t={at},v1={signature(secret, at, body)}",
    }
    try:
        answer = _pool(parts, ip).request(
            "POST", parts.path + (f"?{parts.query}" if parts.query else "") or "/", body=body, headers=headers,
            redirect=False, retries=False, timeout=TIMEOUT_S,
        )  # fmt: skip
    except urllib3.exceptions.HTTPError as error:
        raise NotSent(f"{parts.hostname}: {type(error).__name__}") from None
    if not 200 <= answer.status < 300:
        raise NotSent(
            f"{parts.hostname} says {answer.status}", retry_s=_retry_s(answer.headers), is_final=answer.status == _GONE
        )


def ping(address: str) -> None:
    """Ask for an address and forget the answer; raises `NotSent`. Somebody else notices when this ceases."""
    try:
        parts, ip = check(address)
        answer = _pool(parts, ip).request(
            "GET", parts.path + (f"?{parts.query}" if parts.query else "") or "/",
            headers={"Host": parts.netloc.rpartition("@")[2], "User-Agent": "Livermore"},
            redirect=False, retries=False, timeout=TIMEOUT_S,
        )  # fmt: skip
    except InvalidInput as error:
        raise NotSent(str(error), is_final=True) from None
    except urllib3.exceptions.HTTPError as error:
        raise NotSent(f"the heartbeat's host: {type(error).__name__}") from None
    if answer.status >= 400:
        raise NotSent(f"the heartbeat's host says {answer.status}")


def signature(secret: str, at: str, body: bytes) -> str:
    """What a receiver computes to know that the message is ours, and from when."""
    return hmac.new(secret.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()


def check(address: str) -> tuple[SplitResult, str]:
    """The parts of a usable address, and the IP that its host has now, at which it must be called.

    Raises `InvalidInput` for anything but https to public addresses; plain http and private ones are for the
    networks of `WEBHOOK_PRIVATE_NETWORKS` only. The message never shows path or query, which may hold a secret.
    """
    parts = urlsplit(address)
    if len(address) > LONGEST_ADDRESS or parts.scheme not in ("https", "http") or not parts.hostname:
        raise InvalidInput("a webhook's address begins with https:// and names a host")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, ValueError):
        raise InvalidInput(f"the host {parts.hostname} is not known") from None
    ips = [ipaddress.ip_address(entry[4][0]) for entry in found]
    own = [ipaddress.ip_network(text) for text in settings.WEBHOOK_PRIVATE_NETWORKS]
    for ip in ips:
        is_own = any(ip in network for network in own if ip.version == network.version)
        if not is_own and (not ip.is_global or ip.is_multicast):
            raise InvalidInput(f"{parts.hostname} has the private address {ip}; an operator allows networks")
        if not is_own and parts.scheme != "https":
            raise InvalidInput("a webhook's address begins with https://")
    return parts, str(ips[0])


def _pool(parts: SplitResult, ip: str) -> urllib3.HTTPConnectionPool:
    """To the address that was checked, not to what the name means a moment later; the certificate is the name's."""
    if parts.scheme == "http":
        return urllib3.HTTPConnectionPool(ip, parts.port or 80)
    return urllib3.HTTPSConnectionPool(
        ip, parts.port or 443, server_hostname=parts.hostname, assert_hostname=parts.hostname, cert_reqs="CERT_REQUIRED"
    )


def _retry_s(headers: Mapping[str, str]) -> float | None:
    said = headers.get("Retry-After")
    if not said:
        return None
    if said.isdigit():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return None
