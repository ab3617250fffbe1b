"""Have operators told of incidents, and the outside that we live."""

from django.db import migrations

# Name and task, every so many, seconds after which a late run is dropped.
SCHEDULES = [
    ("watch.tell_operators", 10, "seconds", 8),
    ("notify.heartbeat", 30, "seconds", 20),
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
        ("watch", "0003_schedules"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    # Going back keeps the schedules, and with them what an administrator changed.
    operations = [migrations.RunPython(create_schedules, migrations.RunPython.noop)]
