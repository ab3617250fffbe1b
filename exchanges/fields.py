"""A decimal column that keeps every digit on every database."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db import models

from livermore.core.exact import plain


class ExactDecimalField(models.Field):  # type: ignore[type-arg]  # Django's Field is not generic at run time
    """`numeric` without limits on PostgreSQL, text on SQLite (whose decimals keep about 15 digits).

    Text does not sort as a number: never order or compare by it in SQL.
    """

    description = "A decimal number, exactly"

    def db_type(self, connection: Any) -> str:
        """The column's type."""
        return "numeric" if connection.vendor == "postgresql" else "text"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Decimal | None:
        """A stored value as `Decimal`."""
        return None if value is None else Decimal(value)

    def to_python(self, value: Any) -> Decimal | None:
        """Input of a person or a program as `Decimal`; raises `ValidationError` for anything else."""
        if value is None or isinstance(value, Decimal):
            return value
        try:
            number = Decimal(str(value).strip())
        except InvalidOperation:
            raise ValidationError(f"“{value}” is not a decimal number") from None
        if not number.is_finite():
            raise ValidationError(f"“{value}” is not a finite number")
        return number

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        """`Decimal` for PostgreSQL, plain text for SQLite."""
        number = self.to_python(value)
        if number is None or connection.vendor == "postgresql":
            return number
        return plain(number)

    def formfield(self, **kwargs: Any) -> Any:
        """A decimal form field."""
        return super().formfield(**{"form_class": forms.DecimalField, **kwargs})
