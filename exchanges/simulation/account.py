"""The accounts of a simulated venue: keys, what these may do, and what lies there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from livermore.core.errors import InvalidInput


@dataclass(slots=True)
class Account:
    """A key and the account behind it. `rights` are reading, trading and moving, as `read`, `trade`, `transfer`.

    `api_secret` is Coinbase's PEM. `balances` give what is free and what is locked of each asset, as the venue writes
    them.
    """

    api_key: str
    api_secret: str = field(repr=False)
    passphrase: str = field(default="", repr=False)
    rights: set[str] = field(default_factory=lambda: {"read"})
    balances: dict[str, tuple[str, str]] = field(default_factory=dict)


def opened(told: Mapping[str, Any]) -> Account:
    """An account as a scenario tells it; raises `InvalidInput`."""
    account = Account(told["api_key"], told["api_secret"], str(told.get("passphrase", "")))
    if "rights" in told:
        account.rights = set(told["rights"])
    for asset, amounts in told.get("balances", {}).items():
        if not isinstance(amounts, list) or len(amounts) != 2 or not all(isinstance(a, str) for a in amounts):
            raise InvalidInput(f"balances of an account: {asset} takes what is free and what is locked, as two texts")
        account.balances[asset] = (amounts[0], amounts[1])
    return account


class Denied(Exception):
    """A signed request that a venue refuses, with its status and its own code."""

    def __init__(self, status: int, code: Any, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
