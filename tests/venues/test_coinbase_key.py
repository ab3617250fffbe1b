"""The operator's optional Coinbase key: what is signed, that it is accepted, and that nobody sees it."""

from __future__ import annotations

import json
import logging
from base64 import urlsafe_b64decode
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.checks import run_checks

from exchanges import checks, services
from exchanges.coinbase.key import token
from exchanges.registry import venue
from exchanges.stream import Stream
from exchanges.venue import Endpoint, Key, Limits, Send
from livermore.core.errors import InvalidInput
from livermore.core.trade import Nanos
from tests.support.budgets import OpenBudget
from tests.support.simulation import simulated
from tests.support.waiting import until
from tests.venues.conversation import LIMITS, START_NS, Player

NAME = "organizations/0b7a/apiKeys/94cd"
PRIVATE = ec.generate_private_key(ec.SECP256R1())
START_S = START_NS // 1_000_000_000


def pem(private_key: Any, form: PrivateFormat = PrivateFormat.TraditionalOpenSSL) -> str:
    return private_key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


KEY = Key(NAME, pem(PRIVATE))


def decoded(part: str) -> bytes:
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


def verified(said: str, public_key: ec.EllipticCurvePublicKey | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token whose signature the public key confirms; raises `InvalidSignature`."""
    header, claims, signature = said.split(".")
    raw = decoded(signature)
    assert len(raw) == 64
    numbers = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    (public_key or PRIVATE.public_key()).verify(numbers, f"{header}.{claims}".encode(), ec.ECDSA(SHA256()))
    return json.loads(decoded(header)), json.loads(decoded(claims))


def test_a_token_says_what_the_venue_wants_and_its_signature_holds() -> None:
    header, claims = verified(token(NAME, PRIVATE, Nanos(START_NS + 999_999_999), "c0ffee"))
    assert header == {"alg": "ES256", "typ": "JWT", "kid": NAME, "nonce": "c0ffee"}
    assert claims == {"sub": NAME, "iss": "cdp", "nbf": START_S, "exp": START_S + 120}


def test_many_signatures_hold_whatever_the_length_of_their_numbers() -> None:
    for nonce in range(300):  # one number in 256 begins with a zero byte
        verified(token(NAME, PRIVATE, Nanos(START_NS), str(nonce)))


def test_a_signature_of_another_key_or_of_other_claims_does_not_hold() -> None:
    said = token(NAME, PRIVATE, Nanos(START_NS), "0")
    with pytest.raises(InvalidSignature):
        verified(said, ec.generate_private_key(ec.SECP256R1()).public_key())
    _, claims, signature = said.split(".")
    other, _, _ = token(NAME, PRIVATE, Nanos(START_NS), "1").split(".")
    with pytest.raises(InvalidSignature):
        verified(".".join((other, claims, signature)))


def test_every_message_carries_a_token_of_its_own_and_its_moment() -> None:
    keyed = venue("coinbase").keyed
    assert keyed is not None
    talk = Player(keyed(KEY)(LIMITS, [f"COIN{n}-USD" for n in range(150)]))
    talk.open()
    talk.advance_to(2)
    talk.follow([f"COIN{n}-USD" for n in range(149)])
    talk.advance_to(4)
    said = list(talk.sends())
    assert [m["type"] for _, m in said] == ["subscribe"] * 3 + ["unsubscribe"]
    tokens = [verified(message["jwt"]) for _, message in said]
    assert len({header["nonce"] for header, _ in tokens}) == len(said)
    assert [claims["nbf"] for _, claims in tokens] == [START_S + int(at) for at, _ in said]


def test_without_a_key_nothing_is_signed_and_the_venue_is_the_registered_one() -> None:
    assert services.streamed_venue("coinbase") is venue("coinbase")
    talk = Player(venue("coinbase").session(LIMITS, ["BTC-USD"]))
    talk.open()
    talk.advance_to(1)
    assert all("jwt" not in message for _, message in talk.sends())


@pytest.mark.parametrize("private_key", [
    KEY.private_key, KEY.private_key.replace("\n", "\\n"), pem(PRIVATE, PrivateFormat.PKCS8),
])  # fmt: skip
def test_a_key_in_the_environment_is_used_however_its_lines_end(settings: Any, private_key: str) -> None:
    settings.VENUE_KEYS = {"coinbase": {"name": NAME, "private_key": private_key}}
    assert checks.venue_keys_can_be_used(None) == []
    (sent,) = services.streamed_venue("coinbase").session(LIMITS, ["BTC-USD"]).opened(Nanos(START_NS))
    assert isinstance(sent, Send)
    verified(json.loads(sent.text)["jwt"])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"kucoin": {"name": NAME, "private_key": KEY.private_key}}, "kucoin take no key"),
        ({"nowhere": {"name": NAME, "private_key": KEY.private_key}}, "'nowhere' does not exist"),
        ({"coinbase": {"name": NAME, "private_key": "s3cret"}}, "must be PEM"),
        ({"coinbase": {"name": NAME, "private_key": pem(ec.generate_private_key(ec.SECP384R1()))}}, "P-256"),
        (
            {"coinbase": {"name": NAME, "private_key": pem(ed25519.Ed25519PrivateKey.generate(), PrivateFormat.PKCS8)}},
            "P-256",
        ),
        ({"coinbase": {"name": NAME}}, "needs the texts name and private_key"),
        ({"coinbase": {"name": 5, "private_key": KEY.private_key}}, "needs the texts name and private_key"),
        ({"coinbase": KEY.private_key}, "needs the texts name and private_key"),
    ],
)
def test_e008_a_key_that_cannot_be_used_is_an_error_that_quotes_nothing_of_it(
    settings: Any, keys: dict[str, Any], says: str
) -> None:
    settings.VENUE_KEYS = keys
    [found] = [m for m in run_checks() if m.id == "livermore.E008"]
    assert says in found.msg
    for secret in (NAME, "s3cret", *KEY.private_key.splitlines()[1:-1]):
        assert secret not in str(found)
    with pytest.raises(InvalidInput, match=says):
        services.streamed_venue(next(iter(keys)))


def test_e008_keys_in_another_shape_are_an_error(settings: Any) -> None:
    settings.VENUE_KEYS = [KEY.private_key]
    [found] = checks.venue_keys_can_be_used(None)
    assert found.id == "livermore.E008"
    assert KEY.private_key not in str(found)


def test_neither_a_repr_nor_a_log_shows_key_or_token(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    settings.VENUE_KEYS = {"coinbase": {"name": NAME, "private_key": KEY.private_key}}
    keyed = services.streamed_venue("coinbase")
    (sent,) = keyed.session(LIMITS, ["BTC-USD"]).opened(Nanos(START_NS))
    limits = Limits(topics_per_connection=100, messages_per_second=5, connection_lifetime_s=None, silence_s=5.0)
    with simulated("coinbase") as sim:
        stream = Stream(
            keyed, keyed.rest(Endpoint(**sim.endpoints["coinbase"]), OpenBudget()), limits, ["BTC-USD", "NO-PE"],
            connects=OpenBudget(), epoch=1, publish=lambda _: None, report=lambda _: None,
            names={"BTC-USD": "BTC-USD"},
        )  # fmt: skip
        stream.start()
        until(lambda: stream.snapshot().sockets)
        until(lambda: stream.snapshot().frames)
        sim.fault("coinbase", "cut")
        until(lambda: stream.snapshot().errors)
        assert stream.stop(5.0)
    shown = "\n".join([repr(KEY), repr(sent), repr(keyed), caplog.text, *(repr(vars(r)) for r in caplog.records)])
    assert "stream.disconnected" in shown
    secrets = [NAME, *KEY.private_key.splitlines()[1:-1], json.loads(sent.text)["jwt"].rpartition(".")[2]]  # type: ignore[union-attr]
    for secret in [*secrets, "eyJ"]:  # how every token begins
        assert secret not in shown
