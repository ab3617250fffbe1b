"""KuCoin has its adapter: its row, seeded disabled before, is enabled and gets the limit of new rows."""

from django.db import migrations

from exchanges import seeds


def enable(apps, schema_editor):
    rows = apps.get_model("exchanges", "Exchange").objects.filter(slug="kucoin", enabled=False)
    rows.filter(topics_per_connection=400).update(topics_per_connection=seeds.KUCOIN["topics_per_connection"])
    rows.update(enabled=True)


class Migration(migrations.Migration):
    dependencies = [("exchanges", "0002_seed_exchanges")]

    operations = [migrations.RunPython(enable, migrations.RunPython.noop)]
