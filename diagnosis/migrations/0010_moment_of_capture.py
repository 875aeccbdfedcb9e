from django.db import migrations

import diagnosis.models.images


class Migration(migrations.Migration):
    """The column stays as it is; it is only read with care."""

    dependencies = [("diagnosis", "0009_file_removals")]

    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.AlterField(
                    model_name="fundusimage",
                    name="captured_at",
                    field=diagnosis.models.images.MomentField(blank=True, null=True, verbose_name="captured at"),
                )
            ]
        )
    ]
