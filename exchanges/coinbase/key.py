"""Coinbase's keys: a token of two minutes, signed anew for every subscription and every private request.

    header  {"alg":"ES256","typ":"JWT","kid":<name>,"nonce":<random hex>}
    claims  {"sub":<name>,"iss":"cdp","nbf":<now, s>,"exp":<now + 120>}, and of a request
            "uri":"GET api.coinbase.com/api/v3/brokerage/accounts"

https://docs.cdp.coinbase.com/coinbase-app/authentication-authorization/api-key-authentication
"""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from textwrap import wrap

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from exchanges.pacing import SECOND
from exchanges.venue import Key
from livermore.core.errors import InvalidInput
from livermore.core.trade import Nanos

_BORDER = re.compile("(-----(?:BEGIN|END) [A-Z ]+-----)")
_LINE = 64
_VALID_S = 120
_NUMBER_BYTES = 32


def signer(key: Key) -> Callable[[Nanos], str]:
    """What gives a token for now; raises `InvalidInput` (which quotes nothing of the key) unless it is for ES256."""
    private_key = read(key.private_key)
    return lambda now: token(key.name, private_key, now, secrets.token_hex(16))


def token(name: str, private_key: ec.EllipticCurvePrivateKey, now: Nanos, nonce: str, uri: str = "") -> str:
    """The signed token of a moment, good for one call where `uri` names it. https://www.rfc-editor.org/rfc/rfc7518#section-3.4"""
    now_s = now // SECOND
    header = {"alg": "ES256", "typ": "JWT", "kid": name, "nonce": nonce}
    claims = {"sub": name, "iss": "cdp", "nbf": now_s, "exp": now_s + _VALID_S}
    if uri:
        claims["uri"] = uri
    said = ".".join(_base64(msgspec.json.encode(part)) for part in (header, claims))
    numbers = decode_dss_signature(private_key.sign(said.encode(), ec.ECDSA(SHA256())))
    return f"{said}.{_base64(b''.join(n.to_bytes(_NUMBER_BYTES, 'big') for n in numbers))}"


def read(pem: str) -> ec.EllipticCurvePrivateKey:
    """The key of a PEM, whose line ends may be two characters (environments) or gone (a form's single line).

    Raises `InvalidInput`, which quotes nothing of it, unless it is for ES256.
    """
    parts = _BORDER.split(pem.replace("\\n", "\n"))
    lines = (line for part in parts for line in ([part] if "-----" in part else wrap("".join(part.split()), _LINE)))
    try:
        private_key = load_pem_private_key("\n".join(lines).encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidInput("the private key must be PEM without a password") from None
    if not isinstance(private_key, ec.EllipticCurvePrivateKey) or not isinstance(private_key.curve, ec.SECP256R1):
        raise InvalidInput("the private key must be one for ES256 (ECDSA on P-256)")
    return private_key


def _base64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
