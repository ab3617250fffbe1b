"""What the scoreboard of signals is computed from, and signals of one exchange or of a bar."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("exchanges", "0004_enable_mexc"),
        ("candles", "0012_legacy_migration"),
    ]

    operations = [
        migrations.AddField("signal", "duration_ms", models.BigIntegerField(null=True)),
        migrations.AddField("signal", "peak_bps", models.FloatField(null=True)),
        migrations.AddField("signal", "mfe_bps", models.FloatField(null=True)),
        migrations.AddField("signal", "mae_bps", models.FloatField(null=True)),
        migrations.AddField("signal", "timeframe", models.CharField(blank=True, db_default="", max_length=4)),
        migrations.AddField("signal", "identity", models.CharField(blank=True, db_default="", max_length=200)),
        migrations.AlterField(
            "signal",
            "follower",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="followed_signals",
                to="exchanges.exchange",
            ),
        ),
        migrations.AddIndex(
            "signal",
            models.Index(fields=["kind", "base", "leader", "follower", "opened_ms"], name="signal_by_pair"),
        ),
    ]
