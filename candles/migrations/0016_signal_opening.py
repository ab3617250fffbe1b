"""What a signal was when it opened: what caused it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("candles", "0015_alert_deliveries")]

    operations = [migrations.AddField("signal", "opening", models.JSONField(null=True))]
