"""The first administrator of a new installation."""

from __future__ import annotations

from django.contrib.auth import get_user_model
from django.utils.crypto import get_random_string


def create() -> str:
    """The password of a new user admin; empty when there is an administrator already."""
    users = get_user_model().objects
    if users.filter(is_superuser=True).exists():
        return ""
    password = get_random_string(16)
    users.create_superuser("admin", password=password)
    return password


def how_to_log_in(password: str) -> str:
    forgotten = "forgotten: .venv/bin/python manage.py changepassword admin"
    if password:
        return f"Log in   user admin, password {password} (shown only now; change it in the admin; {forgotten})"
    return f"Log in   user admin ({forgotten})"
