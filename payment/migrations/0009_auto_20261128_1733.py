from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise.indexes import Index

class Migration(migrations.Migration):
    dependencies = [('payment', '0008_orphans')]

    initial = False

    operations = [
        ops.AlterModelOptions(
            name='PaymentAttempt',
            options={'table': 'payment_attempts', 'app': 'payment', 'indexes': [Index(fields=['booking_id'], name='payment_attempts_booking')], 'pk_attr': 'id', 'table_description': "An attempt to pay that Stripe reported as failed. Its id is its charge's, else its event's. Their payment"},
        ),
    ]
