"""Users' exchange credentials: encrypted at rest, and shown to nobody."""

from __future__ import annotations

import json
from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from exchanges.holdings import Credentials
from livermore.core.errors import InvalidInput


class CredentialsUnreadable(InvalidInput):
    """No key of CREDENTIALS_KEYS fits, or what was decrypted is no set of credentials."""


def encrypt(credentials: Mapping[str, str]) -> bytes:
    """Encrypt `api_key`, `api_secret` and `passphrase` with the newest key of CREDENTIALS_KEYS.

    Raises `InvalidInput` for a missing key or secret.
    """
    if not credentials.get("api_key") or not credentials.get("api_secret"):
        raise InvalidInput("both api_key and api_secret are needed")
    body = {name: credentials.get(name, "") for name in ("api_key", "api_secret", "passphrase")}
    return _box().encrypt(json.dumps(body).encode())


def decrypt(token: bytes) -> Credentials:
    """Read what `encrypt` or `rotate` wrote; raises `CredentialsUnreadable`."""
    try:
        return Credentials(**json.loads(_box().decrypt(bytes(token))))
    except InvalidToken:
        raise CredentialsUnreadable(
            "no key in CREDENTIALS_KEYS decrypts these credentials; add the key they were stored with, "
            "or enter them anew"
        ) from None
    except (TypeError, ValueError):
        raise CredentialsUnreadable("the decrypted text is no set of credentials; enter them anew") from None


def seal(text: str) -> bytes:
    """Encrypt any other secret of a user's, such as the address of a webhook."""
    return _box().encrypt(text.encode())


def unseal(token: bytes) -> str:
    """Read what `seal` wrote; raises `CredentialsUnreadable`."""
    try:
        return _box().decrypt(bytes(token)).decode()
    except InvalidToken:
        raise CredentialsUnreadable("no key in CREDENTIALS_KEYS decrypts this; enter it anew") from None


def rotate(token: bytes) -> bytes:
    """The same credentials under the newest key; raises `CredentialsUnreadable`."""
    try:
        return _box().rotate(bytes(token))
    except InvalidToken:
        raise CredentialsUnreadable("no key in CREDENTIALS_KEYS decrypts these credentials") from None


def _box() -> MultiFernet:
    try:
        return MultiFernet([Fernet(key) for key in settings.CREDENTIALS_KEYS])
    except ValueError:
        raise InvalidInput("CREDENTIALS_KEYS must be Fernet keys (32 bytes as URL-safe base64)") from None
