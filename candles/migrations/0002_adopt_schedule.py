"""Have gaps that trades cannot close looked at every minute."""

from django.db import migrations


def create_schedule(apps, schema_editor):
    IntervalSchedule = apps.get_model("django_celery_beat", "IntervalSchedule")
    PeriodicTask = apps.get_model("django_celery_beat", "PeriodicTask")
    interval = IntervalSchedule.objects.filter(every=1, period="minutes").first()
    interval = interval or IntervalSchedule.objects.create(every=1, period="minutes")
    PeriodicTask.objects.get_or_create(
        name="candles.adopt_gaps",
        defaults={"task": "candles.adopt_gaps", "interval": interval, "expire_seconds": 50},
    )


class Migration(migrations.Migration):
    dependencies = [
        ("candles", "0001_initial"),
        ("django_celery_beat", "0019_alter_periodictasks_options"),
    ]

    operations = [migrations.RunPython(create_schedule, migrations.RunPython.noop)]
