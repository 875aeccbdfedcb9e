from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('diagnosis', '0004_second_readers'),
    ]

    operations = [
        migrations.AddField(
            model_name='diagnosis',
            name='vessel_features',
            field=models.JSONField(blank=True, null=True),
        ),
    ]
