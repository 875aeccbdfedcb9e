from django.db import migrations, models

TRIGRAMS = "patient_by_part_of_name"


def add_trigrams(_apps, schema_editor):
    """Index parts of names on PostgreSQL, where the extension may be created; the search works without it, slower."""
    connection = schema_editor.connection
    if connection.vendor != "postgresql":
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') OR ("
            " EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm')"
            " AND has_database_privilege(current_database(), 'CREATE'))"
        )
        if not cursor.fetchone()[0]:
            return
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        cursor.execute(f"CREATE INDEX {TRIGRAMS} ON diagnosis_patient USING gin (search_key gin_trgm_ops)")


def remove_trigrams(_apps, schema_editor):
    """Drop the index; the extension stays, others may use it."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"DROP INDEX IF EXISTS {TRIGRAMS}")


class Migration(migrations.Migration):

    dependencies = [
        ("diagnosis", "0005_vessel_features"),
    ]

    operations = [
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(fields=['object_id'], name='audit_of_object_id'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(fields=['action', '-id'], name='audit_of_action'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(fields=['at'], name='audit_by_day'),
        ),
        migrations.AddIndex(
            model_name='diagnosis',
            index=models.Index(fields=['-created_at', '-id'], name='diagnosis_newest_anywhere'),
        ),
        migrations.AddIndex(
            model_name='diagnosis',
            index=models.Index(fields=['status', '-created_at', '-id'], name='diagnosis_by_status'),
        ),
        migrations.AddIndex(
            model_name='diagnosis',
            index=models.Index(fields=['outcome', '-created_at', '-id'], name='diagnosis_by_outcome'),
        ),
        migrations.AddIndex(
            model_name='diagnosis',
            index=models.Index(fields=['prediction', '-created_at', '-id'], name='diagnosis_by_class_anywhere'),
        ),
        migrations.AddIndex(
            model_name='diagnosis',
            index=models.Index(fields=['report_status', '-created_at', '-id'], name='diagnosis_by_report'),
        ),
        migrations.AddIndex(
            model_name='fundusimage',
            index=models.Index(fields=['-created_at', '-id'], name='image_newest_anywhere'),
        ),
        migrations.AddIndex(
            model_name='patient',
            index=models.Index(fields=['search_key', 'id'], name='patient_by_name_anywhere'),
        ),
        migrations.AddIndex(
            model_name='patient',
            index=models.Index(fields=['birth_date'], name='patient_by_birth_date'),
        ),
        migrations.AddIndex(
            model_name='review',
            index=models.Index(fields=['-signed_at', '-id'], name='review_newest'),
        ),
        migrations.RunPython(add_trigrams, remove_trigrams),
    ]
