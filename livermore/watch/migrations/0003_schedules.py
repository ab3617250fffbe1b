"""Have reception watched, and activity kept."""

from django.db import migrations

# Name and task, every so many, seconds after which a late run is dropped.
SCHEDULES = [
    ("watch.reception", 5, "seconds", 4),
    ("watch.keep_activity", 1, "minutes", 50),
]


def create_schedules(apps, schema_editor):
    IntervalSchedule = apps.get_model("django_celery_beat", "IntervalSchedule")
    PeriodicTask = apps.get_model("django_celery_beat", "PeriodicTask")
    for task, every, period, expires_s in SCHEDULES:
        interval = IntervalSchedule.objects.filter(every=every, period=period).first()
        interval = interval or IntervalSchedule.objects.create(every=every, period=period)
        PeriodicTask.objects.get_or_create(
            name=task, defaults={"task": task, "interval": interval, "expire_seconds": expires_s}
        )


class Migration(migrations.Migration):
    dependencies = [
        ("watch", "0002_reception"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    # Going back keeps the schedules, and with them what an administrator changed.
    operations = [migrations.RunPython(create_schedules, migrations.RunPython.noop)]
