from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint

class Migration(migrations.Migration):
    dependencies = [('booking', '0026_waiting_list')]

    initial = False

    operations = [
        ops.RemoveConstraint(
            model_name='Mail',
            name='mails_kind',
            fields=None,
        ),
        ops.AddConstraint(
            model_name='Mail',
            constraint=CheckConstraint(check="kind IN ('confirmation', 'cancellation', 'refund', 'offer', 'attention')", name='mails_kind'),
        ),
    ]
