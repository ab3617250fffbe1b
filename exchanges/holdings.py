"""What a venue tells a user's own key: what that key may do, and what the account holds. Nothing here can trade."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from livermore.core.exact import EXACT


@dataclass(frozen=True, slots=True)
class Credentials:
    """An API key as its venue wants it; `repr` shows no secret. `passphrase` is empty where unused."""

    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)
    passphrase: str = field(default="", repr=False)

    def redacted(self, text: str) -> str:
        """The text without the secrets, should somebody have put them into it."""
        for secret in (self.api_secret, self.passphrase, self.api_key):
            if secret:
                text = text.replace(secret, "…")
        return text


@dataclass(frozen=True, slots=True)
class Balance:
    """What an account holds of an asset, both parts exact; `asset` as the venue calls it."""

    asset: str
    free: Decimal
    locked: Decimal

    @property
    def amount(self) -> Decimal:
        """Both parts together."""
        return EXACT.add(self.free, self.locked)


@dataclass(frozen=True, slots=True)
class KeyRights:
    """What a key may do beyond reading, in the venue's words (trade, withdraw, transfer): nothing if it is for reading
    only, and None where the venue has no way to tell."""

    beyond_reading: tuple[str, ...] | None


class Holdings(Protocol):
    """An account at a venue, read with its owner's key.

    Every request is a signed GET on the allow-list of the account's own `Door`, stamped by the venue's clock. Raises
    `CredentialsRejected` where the venue does not accept the key, besides what a `Rest` raises; whatever makes one
    raises it for a key that cannot be one of this venue.
    """

    def rights(self) -> KeyRights: ...
    def balances(self) -> Sequence[Balance]: ...


def gathered(rows: Iterable[tuple[str, Decimal, Decimal]]) -> list[Balance]:
    """Asset, free and locked of one account's parts as one balance per asset, without those that are empty."""
    found: dict[str, Balance] = {}
    for asset, free, locked in rows:
        before = found.get(asset) or Balance(asset, Decimal(0), Decimal(0))
        found[asset] = Balance(asset, EXACT.add(before.free, free), EXACT.add(before.locked, locked))
    return [balance for balance in found.values() if balance.free or balance.locked]
