"""The door for REST, against a real server: what each answer and each failure becomes."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from email.utils import formatdate
from traceback import format_exception
from typing import Any

import pytest

from exchanges.http import Door, shaped
from livermore.core.errors import (
    CredentialsRejected,
    GeoBlocked,
    InvalidInput,
    LivermoreError,
    LocalProtocolError,
    RateLimited,
    RemoteProtocolError,
    VenueUnavailable,
)
from livermore.version import version
from tests.support.budgets import OpenBudget
from tests.support.http_server import Answer, http_server

_RESTRICTED = "Service unavailable from a restricted location according to 'b. Eligibility' in our terms."

X = ["GET /x"]


def fetched(answer: Answer, **door: Any) -> Any:
    with http_server(lambda _: answer) as server:
        return Door(server.url, OpenBudget(), allowed=X, **door).fetch("/x")


def refusal(answer: Answer, **door: Any) -> LivermoreError:
    with pytest.raises(LivermoreError) as refused:
        fetched(answer, **door)
    return refused.value


def test_a_good_answer_is_its_json() -> None:
    assert fetched(Answer({"a": ["1.0"]})) == {"a": ["1.0"]}


def test_we_say_who_we_are_and_pass_parameters() -> None:
    with http_server(lambda _: Answer({})) as server:
        Door(server.url + "/", OpenBudget(), allowed=["GET /api/x"]).fetch("/api/x", symbol="币安人生USDT", limit=5)
    (asked,) = server.asked
    assert asked.headers["User-Agent"] == f"livermore/{version()}"
    assert (asked.path, asked.query) == ("/api/x", {"symbol": "币安人生USDT", "limit": "5"})


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Answer({"code": -1121, "msg": "Invalid symbol."}, 400), InvalidInput, "Invalid symbol."),
        (Answer({"error": "NOT_FOUND", "message": "no such product"}, 404), InvalidInput, "no such product"),
        (Answer(text="Unauthorized", status=401, content_type="text/plain"), CredentialsRejected, "401"),
        (Answer({"code": 0, "msg": _RESTRICTED}, 451), GeoBlocked, "restricted location"),
        (Answer({"code": 0, "msg": _RESTRICTED}, 403), GeoBlocked, "restricted location"),
        (Answer(text="<html>blocked</html>", status=403, content_type="text/html"), RateLimited, "403"),
        (Answer({"msg": "down"}, 500), VenueUnavailable, "down"),
        (Answer(text="<html>502</html>", status=502, content_type="text/html"), VenueUnavailable, "502"),
        (Answer(text="<html>hello</html>", content_type="text/html"), VenueUnavailable, "text/html"),
        (Answer(text='{"cut":', status=200), VenueUnavailable, "not JSON"),
        (Answer(text="", status=200), VenueUnavailable, "not JSON"),
        (Answer({}, 302, {"Location": "http://127.0.0.1:1/elsewhere"}), VenueUnavailable, "302"),
        (Answer({"code": -1003, "msg": "Too many requests."}, 429), RateLimited, "Too many requests."),
        (Answer({"errors": [{"id": "x", "message": "slow down"}]}, 429), RateLimited, "slow down"),
    ],
)
def test_a_bad_answer_becomes_one_of_our_errors(answer: Answer, kind: type, words: str) -> None:
    refused = refusal(answer)
    assert type(refused) is kind
    assert words in str(refused)
    assert "<html>" not in str(refused)


def test_a_venue_may_declare_every_403_regional() -> None:
    answer = Answer(text="<html>denied</html>", status=403, content_type="text/html")
    assert type(refusal(answer, is_403_regional=True)) is GeoBlocked


@pytest.mark.parametrize(
    ("status", "headers", "pause_s"),
    [
        (429, {"Retry-After": "7"}, 7),
        (418, {"Retry-After": "259200"}, 259_200),
        (429, {"x-ratelimit-reset": "2"}, 2),
        (429, {}, 10),
        (429, {"Retry-After": "soon"}, 10),
        (418, {}, 120),
    ],
)
def test_a_limit_says_until_when(status: int, headers: dict[str, str], pause_s: float) -> None:
    before = time.time()
    refused = refusal(Answer({"code": -1003, "msg": "banned"}, status, headers))
    assert isinstance(refused, RateLimited)
    assert before + pause_s - 2 <= refused.until_ms / 1000 <= time.time() + pause_s + 1


def test_a_limit_may_end_at_a_date() -> None:
    end_s = int(time.time()) + 3600
    refused = refusal(Answer({}, 429, {"Retry-After": formatdate(end_s, usegmt=True)}))
    assert isinstance(refused, RateLimited)
    assert abs(refused.until_ms / 1000 - end_s) < 1


@pytest.mark.parametrize("status", [429, 418, 403])
def test_a_limit_closes_the_budget(status: int) -> None:
    budget = OpenBudget()
    with http_server(lambda _: Answer({}, status, {"Retry-After": "7"})) as server, pytest.raises(RateLimited) as said:
        Door(server.url, budget, allowed=X).fetch("/x")
    assert budget.closed_until_ms == said.value.until_ms


def test_each_request_takes_the_weight_of_its_path_and_hands_on_what_the_venue_counted() -> None:
    budget = OpenBudget()

    def used(headers: Mapping[str, str]) -> int | None:
        return int(headers["x-used"]) if "x-used" in headers else None

    with http_server(lambda asked: Answer({}, headers={"X-Used": "12"} if asked.query else {})) as server:
        door = Door(server.url, budget, allowed=["GET /*"], weights={"/heavy": 40}, used=used)
        door.fetch("/heavy", all="yes")
        door.fetch("/light")
    assert (budget.spent, budget.heard) == ([40, 1], [12])


def test_what_the_budget_refuses_is_not_sent() -> None:
    class Spent(OpenBudget):
        def spend(self, weight: int) -> None:
            raise RateLimited("used up", 1)

    with http_server(lambda _: Answer({})) as server, pytest.raises(RateLimited):
        Door(server.url, Spent(), allowed=X).fetch("/x")
    assert server.asked == []


def test_a_silent_venue_is_left_after_the_time_out() -> None:
    begun = time.monotonic()
    assert type(refusal(Answer({}, delay_s=30), timeout_s=0.2)) is VenueUnavailable
    assert time.monotonic() - begun < 20


def test_nobody_listening_is_unavailable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(VenueUnavailable):
        Door(f"http://127.0.0.1:{port}", OpenBudget(), allowed=X, timeout_s=1).fetch("/x")


def test_the_door_leads_to_its_host_only() -> None:
    with http_server(lambda _: Answer({})) as server:
        door = Door("http://127.0.0.1:9", OpenBudget(), allowed=X)
        for elsewhere in (server.url, "https://127.0.0.1:9", "http://127.0.0.1:9@localhost"):
            with pytest.raises(LocalProtocolError):
                door.get(elsewhere)
    assert server.asked == []


def test_a_redirect_is_not_followed() -> None:
    with http_server(lambda _: Answer({"secret": 1})) as other:
        answer = Answer({}, 301, {"Location": f"{other.url}/x"})
        assert type(refusal(answer)) is VenueUnavailable
    assert other.asked == []


def test_the_environment_names_no_proxy_for_us(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert fetched(Answer({"direct": True})) == {"direct": True}


def test_json_of_another_shape_names_the_field() -> None:
    with pytest.raises(RemoteProtocolError, match="int"):
        shaped(["a"], list[int])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/v3/order"),
        ("GET", "/api/v3/order"),
        ("POST", "/api/v3/klines"),
        ("DELETE", "/market/BTC/candles"),
        ("GET", "/market/candles"),
        ("GET", "/market/BTC/ETH/candles"),
        ("GET", "/market/%2E%2E/candles/../../order"),
    ],
)
def test_only_listed_calls_leave(method: str, path: str) -> None:
    """M32: what is not on the list cannot be sent, and costs no budget."""
    with http_server(lambda _: Answer({})) as server:
        budget = OpenBudget()
        door = Door(server.url, budget, allowed=["GET /api/v3/klines", "GET /market/*/candles"])
        with pytest.raises(LocalProtocolError, match="none of the calls"):
            door.request(method, server.url + path)
        assert (server.asked, budget.spent) == ([], [])
        door.fetch("/market/BTC-USD/candles")
    assert [asked.path for asked in server.asked] == ["/market/BTC-USD/candles"]


@pytest.mark.parametrize("is_signed", [False, True])
def test_no_error_leads_to_a_signed_address(is_signed: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    door = Door(f"http://127.0.0.1:{port}", OpenBudget(), allowed=X, is_signed=is_signed)
    with pytest.raises(VenueUnavailable) as failed:
        door.fetch("/x", signature=0x5EED)
    assert (f"signature={0x5EED}" in "".join(format_exception(failed.value))) is not is_signed
