"""Have beat read new signals into the outbox; a schedule that exists stays as an administrator left it."""

from django.db import migrations


def create_schedule(apps, schema_editor):
    IntervalSchedule = apps.get_model("django_celery_beat", "IntervalSchedule")
    PeriodicTask = apps.get_model("django_celery_beat", "PeriodicTask")
    every = IntervalSchedule.objects.filter(every=1, period="seconds").first()
    every = every or IntervalSchedule.objects.create(every=1, period="seconds")
    PeriodicTask.objects.get_or_create(
        name="notify.collect", defaults={"task": "notify.collect", "interval": every, "expire_seconds": 5}
    )


class Migration(migrations.Migration):
    dependencies = [
        ("notify", "0001_initial"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    # Going back keeps the schedule, and with it what an administrator changed.
    operations = [migrations.RunPython(create_schedule, migrations.RunPython.noop)]
