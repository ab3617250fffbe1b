"""Every failure the project names; the class says what the caller does next.

LivermoreError
├── Transient                    retry with backoff
│   ├── StoreUnavailable            Redis or the database does not answer
│   ├── VenueUnavailable            time-outs, resets, 5xx
│   └── RateLimited(until_ms)       418, 429: the venue's limiter closes until then
├── Refused                      stop and tell a human
│   ├── GeoBlocked                  451, 403 by region, or our own rule
│   ├── SubscriptionRefused
│   └── CredentialsRejected
├── Poison                       set this item aside and go on
│   ├── FrameRejected(why)
│   └── UnknownSymbol
├── ProtocolError                reconnect
│   ├── RemoteProtocolError         the venue said something impossible
│   └── LocalProtocolError          we did: a bug, counted and loud
└── InvalidInput                 a person's input; one line names what is accepted
"""

from __future__ import annotations


class LivermoreError(Exception):
    """Root of every error this project raises on purpose."""


class Transient(LivermoreError):
    """Passing trouble: retry with backoff."""


class StoreUnavailable(Transient):
    """Redis or the database did not answer."""


class VenueUnavailable(Transient):
    """The venue timed out, reset the connection or answered 5xx."""


class RateLimited(Transient):
    """The venue said 429 or 418; nothing may be sent before `until_ms` (epoch ms, UTC)."""

    def __init__(self, message: str, until_ms: int) -> None:
        super().__init__(message)
        self.until_ms = until_ms


class Refused(LivermoreError):
    """Final until a human changes something."""


class GeoBlocked(Refused):
    """This host may not contact the venue, by our rule or by the venue's 451/403."""


class SubscriptionRefused(Refused):
    """The venue will not serve a topic."""


class CredentialsRejected(Refused):
    """The venue does not accept a key."""


class Poison(LivermoreError):
    """One item is bad: set it aside, count it, go on with the rest."""


class FrameRejected(Poison):
    """A frame cannot be understood; `why` is one short phrase for counting and logging."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class UnknownSymbol(Poison):
    """A native symbol that the symbol book does not hold."""


class ProtocolError(LivermoreError):
    """The conversation is broken: reconnect."""


class RemoteProtocolError(ProtocolError):
    """The venue said something that its protocol does not allow."""


class LocalProtocolError(ProtocolError):
    """We did something our own tables do not allow: a bug."""


class InvalidInput(LivermoreError):
    """Input from a person or a program is wrong; the message says what is accepted."""
