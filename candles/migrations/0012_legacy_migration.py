"""Where each exchange stands in the migration from the predecessor's keys, and who changed that."""

import django.db.models.deletion
from django.db import migrations, models

# The predecessor numbered its exchanges in the order of its seed; 4 was Kraken, which we do not watch.
NUMBERS = {"coinbase": 1, "binance": 2, "binance_us": 3, "kucoin": 5, "mexc": 6}
MODES = [
    ("legacy", "legacy: the predecessor writes its keys, we ours"),
    ("dual", "dual: we write both"),
    ("shared", "shared: we write ours"),
    ("done", "done: the predecessor's keys are gone"),
]


def create_rows(apps, schema_editor):
    Exchange = apps.get_model("exchanges", "Exchange")
    LegacyMigration = apps.get_model("candles", "LegacyMigration")
    for slug in Exchange.objects.filter(pk__in=NUMBERS).values_list("pk", flat=True):
        LegacyMigration.objects.get_or_create(exchange_id=slug, defaults={"number": NUMBERS[slug]})


class Migration(migrations.Migration):
    dependencies = [
        ("candles", "0011_settle_windows"),
        ("exchanges", "0004_enable_mexc"),
    ]

    operations = [
        migrations.CreateModel(
            name="LegacyMigration",
            fields=[
                (
                    "exchange",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="legacy_migration",
                        serialize=False,
                        to="exchanges.exchange",
                    ),
                ),
                (
                    "number",
                    models.PositiveIntegerField(
                        help_text="The exchange's number in the predecessor's keys, candles:{user}:{number}:…",
                        unique=True,
                    ),
                ),
                ("mode", models.CharField(choices=MODES, default="legacy", editable=False, max_length=8)),
                ("checked_keys", models.PositiveIntegerField(default=0, editable=False)),
                ("clean_keys", models.PositiveIntegerField(default=0, editable=False)),
                ("verified_at", models.DateTimeField(editable=False, null=True)),
                ("cut_over_at", models.DateTimeField(editable=False, null=True)),
            ],
            options={"db_table": "legacy_migrations", "ordering": ["exchange"]},
        ),
        migrations.CreateModel(
            name="LegacyModeChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("before", models.CharField(max_length=8)),
                ("after", models.CharField(max_length=8)),
                ("at", models.DateTimeField(auto_now_add=True)),
                ("by", models.CharField(max_length=150)),
                ("why", models.CharField(max_length=200)),
                (
                    "exchange",
                    models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="exchanges.exchange"),
                ),
            ],
            options={"db_table": "legacy_mode_changes", "ordering": ["-at"]},
        ),
        migrations.RunPython(create_rows, migrations.RunPython.noop),
    ]
