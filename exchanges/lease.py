"""The lease of an exchange: one holder at a time, with an epoch that fences off its predecessors.

Two keys, and no command touches both. To acquire: claim the free lease under epoch 0, draw the next
epoch from the counter, seal the lease with it by compare. Because only the winner of the claim draws a
number, the counter is the epoch of the newest holder. A holder that dies half way leaves a lease that
expires. One whose process is known to be dead (`exchanges.lifeline`) is succeeded at once, by compare.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from exchanges import lifeline
from exchanges.state import delete_if, state_redis, unavailable
from livermore.core import keys
from livermore.core.errors import LivermoreError

TTL_MS = 30_000
RENEW_EVERY_S = 10.0

_SWAP = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
_RAISE = """
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
return 1
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds an exchange; `epoch` rises with every new holder and 0 means half acquired."""

    exchange: str
    owner: str
    epoch: int

    def __str__(self) -> str:
        return f"{self.owner}|{self.epoch}"

    @property
    def host(self) -> str:
        """The name of the holding host."""
        return self.owner.rpartition("/")[0]


class LeaseHeld(LivermoreError):
    """Another owner has the lease."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(f"{lease.exchange} is held by host {lease.host}, epoch {lease.epoch}")
        self.lease = lease


def new_owner(host: str) -> str:
    """An owner that no other process shares, even one with the same host name."""
    return f"{host}/{secrets.token_hex(4)}"


@unavailable()
def holder(exchange: str) -> Lease | None:
    """The present holder, or None when the lease is free."""
    value = state_redis().get(keys.lease(exchange))
    if value is None:
        return None
    owner, _, epoch = value.decode().rpartition("|")
    return Lease(exchange, owner, int(epoch))


@unavailable()
def acquire(exchange: str, owner: str) -> Lease:
    """Take the lease, free or a dead owner's, with a new epoch; raises `LeaseHeld` when somebody else's."""
    claim = _claim(exchange, owner)
    return _seal(claim, Lease(exchange, owner, state_redis().incr(keys.epoch(exchange))))


@unavailable()
def renew(lease: Lease) -> bool:
    """Extend by `TTL_MS`; False when another holder has been here since.

    A lease that expired while Redis was away is taken back with its epoch, because nobody drew a
    newer one in the meantime; after a flush the counter is raised to it.
    """
    if _swap(lease, lease):
        return True
    try:
        claim = _claim(lease.exchange, lease.owner)
    except LeaseHeld:
        return False
    if int(state_redis().get(keys.epoch(lease.exchange)) or 0) > lease.epoch:
        release(claim)
        return False
    state_redis().eval(_RAISE, 1, keys.epoch(lease.exchange), lease.epoch)
    return _swap(claim, lease)


def release(lease: Lease) -> bool:
    """Give the lease back; False when it was no longer ours."""
    return delete_if(keys.lease(lease.exchange), str(lease))


def _claim(exchange: str, owner: str) -> Lease:
    claim = Lease(exchange, owner, 0)
    while not state_redis().set(keys.lease(exchange), str(claim), nx=True, px=TTL_MS):
        found = holder(exchange)
        if found is None:
            continue
        if not lifeline.is_dead(found.owner):
            raise LeaseHeld(found)
        if _swap(found, claim):  # else another successor was quicker, and is looked at next
            break
    return claim


def _seal(claim: Lease, lease: Lease) -> Lease:
    if not _swap(claim, lease):
        raise LeaseHeld(holder(lease.exchange) or lease)
    return lease


def _swap(old: Lease, new: Lease) -> bool:
    return bool(state_redis().eval(_SWAP, 1, keys.lease(old.exchange), str(old), str(new), TTL_MS))
