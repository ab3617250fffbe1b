"""Note where rows and venues differ, once a day."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

TASK, EXPIRES_S = "exchanges.check_metadata", 6 * 3600


def create_schedule(apps, schema_editor):
    IntervalSchedule = apps.get_model("django_celery_beat", "IntervalSchedule")
    PeriodicTask = apps.get_model("django_celery_beat", "PeriodicTask")
    daily = IntervalSchedule.objects.filter(every=1, period="days").first()
    daily = daily or IntervalSchedule.objects.create(every=1, period="days")
    PeriodicTask.objects.get_or_create(
        name=TASK, defaults={"task": TASK, "interval": daily, "expire_seconds": EXPIRES_S}
    )


class Migration(migrations.Migration):
    dependencies = [
        ("exchanges", "0005_user_exchange_state"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [
        migrations.CreateModel(
            name="Drift",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("what", models.CharField(max_length=80)),
                ("ours", models.CharField(max_length=200)),
                ("theirs", models.CharField(max_length=200)),
                ("changes", models.JSONField(blank=True, default=dict, editable=False)),
                ("seen_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                ("settled_by", models.CharField(blank=True, max_length=150)),
                (
                    "decision",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("accepted", "Accepted"), ("kept", "Kept"), ("synced", "Synced"), ("gone", "Gone"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "exchange",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="drifts", to="exchanges.exchange"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "drift of exchanges' metadata",
                "ordering": [
                    models.OrderBy(models.F("settled_at"), descending=True, nulls_first=True), "-seen_at", "-pk",
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("settled_at", None)), fields=("exchange", "what"), name="drift_open_once"
                    )
                ],
            },
        ),
        # Going back keeps the schedule, and with it what an administrator changed.
        migrations.RunPython(create_schedule, migrations.RunPython.noop),
    ]  # fmt: skip
