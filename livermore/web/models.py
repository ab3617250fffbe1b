"""Who may read without a browser, and whose password was guessed wrongly too often."""

from __future__ import annotations

import hashlib
import secrets

from django.conf import settings
from django.db import models


def digest(text: str) -> str:
    """What is stored instead of a secret; the secret itself is random, so no salt is needed."""
    return hashlib.sha256(text.encode()).hexdigest()


def new_text(token: ApiToken) -> str:
    """Gives an unsaved token a new secret and returns it; the caller shows it once."""
    text = f"lvm_{secrets.token_urlsafe(32)}"
    token.digest = digest(text)
    return text


class ApiTokenQuerySet(models.QuerySet):
    """Reads and the one way to make a token."""

    def issue(self, user: object, name: str, *, may_change: bool = False) -> tuple[ApiToken, str]:
        """A new token and its text, which is never seen again."""
        token = self.model(user=user, name=name, may_change=may_change)
        text = new_text(token)
        token.save()
        return token, text

    def matching(self, text: str) -> ApiToken | None:
        """The token with this text whose user is still active."""
        return self.select_related("user").filter(digest=digest(text), user__is_active=True).first()


class ApiToken(models.Model):
    """Lets a program act as its user, as `Authorization: Bearer <text>`; only the digest is kept."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=64, help_text="What uses it, such as “notebook”.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    may_change = models.BooleanField(default=False, help_text="It may do what its user may; else it only reads.")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        db_table = "api_tokens"
        verbose_name = "API token"

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"


class LoginFailures(models.Model):
    """How often one name failed to log in from one address since it last succeeded or paused."""

    digest = models.CharField(primary_key=True, max_length=64)
    count = models.PositiveIntegerField(default=0)
    last_at = models.DateTimeField()

    class Meta:
        db_table = "login_failures"

    def __str__(self) -> str:
        return f"{self.count} failures"
