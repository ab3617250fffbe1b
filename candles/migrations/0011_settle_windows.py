"""Have series moved into the shared pool and out of it, and what is followed kept alive."""

from django.db import migrations


def create_schedule(apps, schema_editor):
    IntervalSchedule = apps.get_model("django_celery_beat", "IntervalSchedule")
    PeriodicTask = apps.get_model("django_celery_beat", "PeriodicTask")
    interval = IntervalSchedule.objects.filter(every=5, period="minutes").first()
    interval = interval or IntervalSchedule.objects.create(every=5, period="minutes")
    task = "candles.settle_windows"
    PeriodicTask.objects.get_or_create(name=task, defaults={"task": task, "interval": interval, "expire_seconds": 240})


class Migration(migrations.Migration):
    dependencies = [
        ("candles", "0010_alerts"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    # Going back keeps the schedule, and with it what an administrator changed.
    operations = [migrations.RunPython(create_schedule, migrations.RunPython.noop)]
