"""MEXC has its adapter: its row, seeded disabled before, is enabled."""

from django.db import migrations


def enable(apps, schema_editor):
    apps.get_model("exchanges", "Exchange").objects.filter(slug="mexc", enabled=False).update(enabled=True)


class Migration(migrations.Migration):
    dependencies = [("exchanges", "0003_enable_kucoin")]

    operations = [migrations.RunPython(enable, migrations.RunPython.noop)]
