"""Create the rows of the exchanges known at delivery; rows that exist stay as they are."""

from django.db import migrations

from exchanges import seeds


def create_rows(apps, schema_editor):
    seeds.create_missing(apps.get_model("exchanges", "Exchange"))


class Migration(migrations.Migration):
    dependencies = [("exchanges", "0001_initial")]

    # Going back keeps the rows: only dropping the table removes them.
    operations = [migrations.RunPython(create_rows, migrations.RunPython.noop)]
