import django.core.validators
import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models


def name_amendments(apps, _schema_editor):
    """Before second readers, every signature that superseded another was an amendment."""
    apps.get_model("diagnosis", "Review").objects.filter(supersedes__isnull=False).update(reading="amendment")


class Migration(migrations.Migration):

    dependencies = [
        ('diagnosis', '0003_batches'),
    ]

    operations = [
        migrations.CreateModel(
            name='BlindGrade',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('label', models.CharField(blank=True, choices=[('DiabeticRetinopathy', 'Diabetic retinopathy'), ('Glaucoma', 'Glaucoma suspect'), ('Myopia', 'Pathological myopia'), ('Normal', 'No sign of the three conditions')], max_length=30, verbose_name='class')),
                ('graded_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
            ],
            options={
                'ordering': ['graded_at', 'id'],
            },
        ),
        migrations.CreateModel(
            name='Escalation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('raised_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('mailed_at', models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                'ordering': ['-raised_at'],
            },
        ),
        migrations.CreateModel(
            name='ReviewDraft',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('grade', models.CharField(blank=True, max_length=30)),
                ('verdict', models.CharField(blank=True, max_length=12)),
                ('label', models.CharField(blank=True, max_length=30)),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('note', models.TextField(blank=True, max_length=4000)),
                ('asks_second', models.BooleanField(default=False)),
                ('updated_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'ordering': ['-updated_at'],
            },
        ),
        migrations.AddField(
            model_name='clinic',
            name='blind_review',
            field=models.BooleanField(default=True, help_text='Readers grade the photograph before they see the result.', verbose_name='blind review'),
        ),
        migrations.AddField(
            model_name='clinic',
            name='escalation_hours',
            field=models.PositiveSmallIntegerField(default=48, help_text='Suspected findings that nobody signed for so long become urgent.', validators=[django.core.validators.MinValueValidator(1), django.core.validators.MaxValueValidator(720)], verbose_name='hours until escalation'),
        ),
        migrations.AddField(
            model_name='clinic',
            name='second_reader',
            field=models.BooleanField(default=False, help_text='Two people read every result; a third decides where they differ.', verbose_name='second reader'),
        ),
        migrations.AddField(
            model_name='diagnosis',
            name='awaited_reading',
            field=models.CharField(choices=[('first', 'First reading'), ('second', 'Second reading'), ('arbitration', 'Arbitration'), ('amendment', 'Amendment')], default='first', max_length=12, verbose_name='awaited reading'),
        ),
        migrations.AddField(
            model_name='review',
            name='reading',
            field=models.CharField(choices=[('first', 'First reading'), ('second', 'Second reading'), ('arbitration', 'Arbitration'), ('amendment', 'Amendment')], default='first', max_length=12, verbose_name='reading'),
        ),
        migrations.AddIndex(
            model_name='diagnosis',
            index=models.Index(condition=models.Q(('report_status', 'preliminary'), ('status', 'succeeded')), fields=['clinic', 'awaited_reading', '-created_at', '-id'], name='diagnosis_unsigned'),
        ),
        migrations.AddIndex(
            model_name='diagnosis',
            index=models.Index(condition=models.Q(('report_status', 'preliminary'), ('status', 'succeeded'), ('outcome__in', ['finding', 'indeterminate']), models.Q(('prediction', 'Normal'), _negated=True)), fields=['clinic', 'created_at', 'id'], name='diagnosis_unsigned_suspects'),
        ),
        migrations.AddIndex(
            model_name='diagnosis',
            index=models.Index(condition=models.Q(('outcome', 'ungradable')), fields=['clinic', '-created_at', '-id'], name='diagnosis_ungradable'),
        ),
        migrations.AddConstraint(
            model_name='diagnosis',
            constraint=models.CheckConstraint(condition=models.Q(('awaited_reading__in', ('first', 'second', 'arbitration'))), name='diagnosis_awaits_a_reading'),
        ),
        migrations.AddConstraint(
            model_name='review',
            constraint=models.CheckConstraint(condition=models.Q(('reading__in', ['first', 'second', 'arbitration', 'amendment'])), name='review_reading_known'),
        ),
        migrations.AddField(
            model_name='blindgrade',
            name='diagnosis',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='blind_grades', to='diagnosis.diagnosis'),
        ),
        migrations.AddField(
            model_name='blindgrade',
            name='reader',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='blind_grades', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='escalation',
            name='clinic',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='diagnosis.clinic'),
        ),
        migrations.AddField(
            model_name='escalation',
            name='diagnosis',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='escalation', to='diagnosis.diagnosis'),
        ),
        migrations.AddField(
            model_name='reviewdraft',
            name='diagnosis',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='drafts', to='diagnosis.diagnosis'),
        ),
        migrations.AddField(
            model_name='reviewdraft',
            name='reader',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='review_drafts', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddConstraint(
            model_name='blindgrade',
            constraint=models.UniqueConstraint(fields=('diagnosis', 'reader'), name='blind_grade_once_per_reader'),
        ),
        migrations.AddConstraint(
            model_name='blindgrade',
            constraint=models.CheckConstraint(condition=models.Q(('label', ''), ('label__in', ['DiabeticRetinopathy', 'Glaucoma', 'Myopia', 'Normal']), _connector='OR'), name='blind_grade_label_known'),
        ),
        migrations.AddIndex(
            model_name='escalation',
            index=models.Index(condition=models.Q(('mailed_at__isnull', True)), fields=['clinic'], name='escalation_to_mail'),
        ),
        migrations.AddConstraint(
            model_name='reviewdraft',
            constraint=models.UniqueConstraint(fields=('diagnosis', 'reader'), name='review_draft_once_per_reader'),
        ),
        migrations.RunPython(name_amendments, migrations.RunPython.noop),
    ]
