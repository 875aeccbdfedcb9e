from django.db import migrations, models


def check_at_once(schema_editor):
    """Let no check wait for the end of the transaction: it would forbid the changes of the table that follow."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def name_the_records(apps, schema_editor):
    """Let each key name its record; those that never came to one are free."""
    check_at_once(schema_editor)
    keys = apps.get_model("diagnosis", "IdempotencyKey").objects
    keys.filter(diagnosis=None, batch=None).delete()
    keys.exclude(diagnosis=None).update(record_type="diagnosis", record_id=models.F("diagnosis_id"))
    keys.exclude(batch=None).update(record_type="batch", record_id=models.F("batch_id"))
    open_batches = apps.get_model("diagnosis", "Batch").objects.filter(taken_at=None)
    keys.filter(batch__in=open_batches).update(is_finished=False)


def point_at_the_records(apps, schema_editor):
    """Go back to the two kinds of records that were known before; keys of others go."""
    check_at_once(schema_editor)
    keys = apps.get_model("diagnosis", "IdempotencyKey").objects
    known = {
        name: apps.get_model("diagnosis", name).objects.values("pk") for name in ("diagnosis", "batch")
    }
    for name, rows in known.items():
        keys.filter(record_type=name, record_id__in=rows).update(**{f"{name}_id": models.F("record_id")})
    keys.filter(diagnosis=None, batch=None).delete()


class Migration(migrations.Migration):

    dependencies = [
        ("diagnosis", "0013_media_instance"),
    ]

    operations = [
        migrations.RenameField("idempotencykey", "body_sha256", "request_sha256"),
        migrations.RenameField("idempotencykey", "reserved_at", "created_at"),
        migrations.AddField("idempotencykey", "record_type", models.CharField(blank=True, default="", max_length=40), preserve_default=False),
        migrations.AddField("idempotencykey", "record_id", models.UUIDField(null=True)),
        migrations.AddField("idempotencykey", "is_finished", models.BooleanField(default=True)),
        migrations.RunPython(name_the_records, point_at_the_records),
        migrations.RemoveField("idempotencykey", "diagnosis"),
        migrations.RemoveField("idempotencykey", "batch"),
    ]
