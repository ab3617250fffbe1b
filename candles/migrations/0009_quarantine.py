"""Keep batches that cannot be taken; frames stay in Redis and have only a name here."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("candles", "0008_by_time"),
    ]

    operations = [
        migrations.CreateModel(
            name="QuarantinedFrame",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
            ],
            options={
                "managed": False,
                "default_permissions": ("view",),
            },
        ),
        migrations.CreateModel(
            name="QuarantinedBatch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("exchange", models.CharField(max_length=32)),
                ("connection", models.CharField(max_length=32)),
                ("number", models.BigIntegerField()),
                ("received_ns", models.BigIntegerField()),
                ("frames", models.PositiveIntegerField()),
                ("body", models.BinaryField()),
                ("error", models.TextField()),
                ("failures", models.PositiveIntegerField()),
                ("set_aside_at", models.DateTimeField()),
                ("tried_at", models.DateTimeField(blank=True, null=True)),
                ("taken_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name_plural": "quarantined batches",
                "db_table": "quarantined_batches",
                "indexes": [models.Index(fields=["exchange", "-set_aside_at"], name="quarantined_newest")],
                "constraints": [
                    models.UniqueConstraint(fields=("exchange", "connection", "number"), name="quarantined_once")
                ],
            },
        ),
    ]
