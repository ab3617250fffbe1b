"""Create beat's schedule that reads positions; one that exists stays as an administrator left it."""

from django.db import migrations

TASK = "symbols.refresh_positions"
EVERY_S = 45


def create_schedule(apps, schema_editor):
    IntervalSchedule = apps.get_model("django_celery_beat", "IntervalSchedule")
    PeriodicTask = apps.get_model("django_celery_beat", "PeriodicTask")
    interval = IntervalSchedule.objects.filter(every=EVERY_S, period="seconds").first()
    interval = interval or IntervalSchedule.objects.create(every=EVERY_S, period="seconds")
    PeriodicTask.objects.get_or_create(
        name=TASK, defaults={"task": TASK, "interval": interval, "expire_seconds": EVERY_S}
    )


class Migration(migrations.Migration):
    dependencies = [
        ("symbols", "0004_position"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    # Going back keeps the schedule, and with it what an administrator changed.
    operations = [migrations.RunPython(create_schedule, migrations.RunPython.noop)]
