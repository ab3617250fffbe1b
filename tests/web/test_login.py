"""The login: it opens, and it pauses for who guesses."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import User
from django.test import Client

from livermore.web.login import FAILURES_ALLOWED, PAUSE
from livermore.web.models import LoginFailures


def _try(client: Client, password: str, name: str = "trader"):  # type: ignore[no-untyped-def]
    return client.post("/login/", {"username": name, "password": password})


def test_the_right_password_opens(client: Client, trader: User) -> None:
    assert _try(client, "correct horse battery").url == "/"


def test_after_five_failures_even_the_right_password_waits(client: Client, trader: User) -> None:
    for _ in range(FAILURES_ALLOWED):
        assert _try(client, "wrong").status_code == 200
    answer = _try(client, "correct horse battery")
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 61
    assert "Too many failures" in answer.content.decode()


def test_the_pause_ends_and_a_success_forgets(client: Client, trader: User) -> None:
    for _ in range(FAILURES_ALLOWED):
        _try(client, "wrong")
    row = LoginFailures.objects.get()
    row.last_at -= PAUSE + timedelta(seconds=1)
    row.save()
    assert _try(client, "correct horse battery").status_code == 302
    assert not LoginFailures.objects.exists()


def test_another_name_and_another_address_are_not_held_back(client: Client, trader: User) -> None:
    for _ in range(FAILURES_ALLOWED):
        _try(client, "wrong", "somebody")
    assert _try(client, "correct horse battery").status_code == 302
    elsewhere = Client(REMOTE_ADDR="192.0.2.7")
    assert _try(elsewhere, "wrong", "somebody").status_code == 200


def test_the_admins_own_login_pauses_too_and_counts_with_the_other(client: Client, operator: User) -> None:
    form = {"username": "operator", "password": "wrong"}
    for number in range(FAILURES_ALLOWED):
        assert client.post("/admin/login/" if number else "/login/", form).status_code == 200
    answer = client.post("/admin/login/", form | {"password": "correct horse battery"})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 61
    assert "Too many failures" in answer.content.decode()
    assert "_auth_user_id" not in client.session


def test_staff_reaches_the_admin_and_others_are_told_that_they_may_not(
    client: Client, operator: User, trader: User
) -> None:
    page = client.get("/admin/").url
    assert page == "/admin/login/?next=/admin/"
    staff = {"username": "operator", "password": "correct horse battery"}
    assert client.post(page, staff | {"next": "/admin/exchanges/"}).url == "/admin/exchanges/"
    assert client.get("/admin/login/").url == "/admin/"
    client.force_login(trader)
    assert "not authorized" in client.get(page).content.decode()
    assert client.post("/admin/login/", {"username": "trader", "password": "correct horse battery"}).status_code == 200


def test_names_that_nobody_tries_any_more_are_forgotten(client: Client, trader: User) -> None:
    _try(client, "wrong", "one")
    LoginFailures.objects.update(last_at=LoginFailures.objects.get().last_at - timedelta(hours=2))
    _try(client, "wrong", "two")
    assert LoginFailures.objects.count() == 1


def test_nobody_is_sent_to_another_host_after_login(client: Client, trader: User) -> None:
    form = {"username": "trader", "password": "correct horse battery", "next": "https://example.com/"}
    assert client.post("/login/", form).url == "/"


def test_logging_out_closes(client: Client, trader: User) -> None:
    client.force_login(trader)
    assert client.post("/logout/").status_code == 302
    assert client.get("/").url.startswith("/login/")
