# ruff: noqa: E501, RUF012
from tortoise import migrations
from tortoise.migrations import operations as ops
from tortoise.migrations.constraints import CheckConstraint


class Migration(migrations.Migration):
    dependencies = [("booking", "0001_initial")]

    initial = False

    operations = [
        ops.AddConstraint(
            model_name="Booking",
            constraint=CheckConstraint(
                check="status IN ('pending', 'confirmed', 'cancelled', 'failed')", name="bookings_status"
            ),
        ),
        ops.AddConstraint(
            model_name="Booking",
            constraint=CheckConstraint(
                check="payment IN ('none', 'creating', 'awaiting', 'action_required', 'processing', 'paid', 'refund_pending', 'partially_refunded', 'refunded', 'refund_failed', 'disputed')",
                name="bookings_payment",
            ),
        ),
        ops.AddConstraint(
            model_name="Booking",
            constraint=CheckConstraint(check="amount >= 0", name="bookings_amount"),
        ),
        ops.AddConstraint(
            model_name="Booking",
            constraint=CheckConstraint(
                check="(status = 'pending') = (expires_at IS NOT NULL)", name="bookings_hold"
            ),
        ),
        ops.AddConstraint(
            model_name="Booking",
            constraint=CheckConstraint(
                check="settle_after IS NOT NULL OR (status <> 'pending' AND refund_amount IS NULL)",
                name="bookings_never_stuck",
            ),
        ),
        ops.AddConstraint(
            model_name="Booking",
            constraint=CheckConstraint(
                check="status <> 'confirmed' OR amount_captured = amount", name="bookings_paid"
            ),
        ),
        ops.AddConstraint(
            model_name="Booking",
            constraint=CheckConstraint(
                check="amount_refunded >= 0 AND amount_refunded <= amount_captured AND coalesce(refund_amount, 0) <= amount_captured - amount_refunded",
                name="bookings_refunds",
            ),
        ),
        ops.AddConstraint(
            model_name="Event",
            constraint=CheckConstraint(check="max_per_booking > 0", name="events_max_per_booking"),
        ),
        ops.AddConstraint(
            model_name="Event",
            constraint=CheckConstraint(check="called_off_at IS NULL OR NOT on_sale", name="events_called_off"),
        ),
        ops.AddConstraint(
            model_name="TicketType",
            constraint=CheckConstraint(check="unit_amount >= 0", name="ticket_types_amount"),
        ),
        ops.AddConstraint(
            model_name="TicketType",
            constraint=CheckConstraint(check="held >= 0", name="ticket_types_held"),
        ),
        ops.AddConstraint(
            model_name="TicketType",
            constraint=CheckConstraint(check="sold >= 0", name="ticket_types_sold"),
        ),
        ops.AddConstraint(
            model_name="TicketType",
            constraint=CheckConstraint(check="held + sold <= capacity", name="ticket_types_not_oversold"),
        ),
    ]
