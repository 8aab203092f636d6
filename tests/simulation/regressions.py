"""Seeds that have found a bug, and what it was. Every run of the tests plays them.

A seed decides what the scheduler chooses, so a change of the scheduler, or of the points where the product stops,
gives other stories to the same seeds. Therefore the bugs of actors that were found are also in `planted.py`.
"""

REGRESSIONS: dict[int, str] = {
    3: "an intent whose currency was changed at Stripe confirmed its booking (currency_not_compared)",
    337: "refunds that a bank refused were requested again without end (refund_made_good_by_an_earlier_one)",
    1134: "the audit reported for good a canceled intent found for a booking that was lost and made anew",
}
