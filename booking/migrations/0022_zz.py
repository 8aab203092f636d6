from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise.indexes import Index
from tortoise.migrations.constraints import CheckConstraint

class Migration(migrations.Migration):
    dependencies = [('booking', '0021_mails')]

    initial = False

    operations = [
        ops.AlterModelOptions(
            name='Mail',
            options={'table': 'mails', 'app': 'booking', 'constraints': [CheckConstraint(check="kind IN ('confirmation', 'cancellation', 'refund', 'attention')", name='mails_kind'), CheckConstraint(check="status IN ('owed', 'sent', 'refused', 'given_up', 'dropped')", name='mails_status'), CheckConstraint(check="(status = 'owed') = (send_after IS NOT NULL) AND (status = 'owed') = (ended_at IS NULL)", name='mails_never_stuck')], 'indexes': [Index(fields=['booking_id', 'made_at'], name='mails_by_booking'), Index(fields=['made_at'], name='mails_by_age')], 'pk_attr': 'id', 'table_description': 'One mail about a booking, which is owed for a change of it, or because an operator wants it sent again; and'},
        ),
    ]
