"""Tokens that only read, and callers that ask too often."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from livermore.web import throttle
from livermore.web.models import ApiToken

PATH = "/api/v1/exchanges"


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No minute ends during a test."""

    class Clock:
        @staticmethod
        def time() -> float:
            return 1_790_000_010.0

    monkeypatch.setattr(throttle, "time", Clock)


def test_one_call_too_many_is_refused_and_says_when_to_come_back(browser: Client, settings: Any) -> None:
    settings.API_CALLS_PER_MINUTE = 3
    answers = [browser.get(PATH) for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429]
    assert [a["RateLimit-Remaining"] for a in answers] == ["2", "1", "0", "0"]
    refused = answers[-1]
    assert refused.json()["error"]["code"] == "too_many_calls"
    assert refused["Retry-After"] == refused["RateLimit-Reset"] == "30"


def test_each_token_and_user_has_its_own(client: Client, trader: User, redis_state: Any, settings: Any) -> None:
    settings.API_CALLS_PER_MINUTE = 1
    for name in ("one", "two"):
        _, text = ApiToken.objects.issue(trader, name)
        assert client.get(PATH, HTTP_AUTHORIZATION=f"Bearer {text}").status_code == 200
    client.force_login(trader)
    assert client.get(PATH).status_code == 200
    assert client.get(PATH).status_code == 429


def test_strangers_are_refused_without_being_counted(client: Client, db: None, redis_state: Any) -> None:
    assert client.get(PATH).status_code == 401
    assert redis_state.keys("api:calls:*") == []


def test_without_a_limit_nobody_counts(browser: Client, redis_state: Any, settings: Any) -> None:
    settings.API_CALLS_PER_MINUTE = 0
    assert "RateLimit-Limit" not in browser.get(PATH)
    assert redis_state.keys("api:calls:*") == []


def test_a_token_only_reads_unless_it_may_change_things(client: Client, operator: User, redis_state: Any) -> None:
    order = {"path": f"{PATH}/kucoin/commands", "data": {"verb": "start"}, "content_type": "application/json"}
    for may_change, status in ((False, 403), (True, 202)):
        _, text = ApiToken.objects.issue(operator, f"script {may_change}", may_change=may_change)
        assert client.post(**order, HTTP_AUTHORIZATION=f"Bearer {text}").status_code == status
