"""The seeds that the tests play, as `python -m tests.simulation.choose` has found them."""

# Together they reach every fault, point and end.
COVERING = [14, 35, 49, 50, 52, 54, 55, 56, 58, 60]
# By planted mistake the seed that shows it soonest. When schedules have changed since, another may show it instead.
SHOWN_BY = {
    "acknowledge_before_commit": 19,
    "the_readers_lease_never_expires": 14,
    "notifications_published_once": 11,
    "release_twice": 15,
    "refund_key_changes": 29,
    "amount_not_compared": 5,
    "nobody_has_asked": 7,
    "currency_not_compared": 14,
    "refunds_not_retried": 6,
    "webhooks_in_a_cache": 21,
    "cursor_in_our_own_time": 6,
    "cursor_passes_over_what_is_not_listed_yet": 73,
    "disputes_in_one_field": 14,
    "unknown_types_are_dead_lettered": 16,
    "begun_events_are_sold": 9,
    "an_equal_decline_gives_no_time": 13,
    "a_decline_moves_the_last_moment": 1,
    "acts_by_its_own_clock": 7,
    "a_refusal_is_final": 36,
    "all_that_is_left_is_an_amount": 20,
    "same_key_after_a_refusal": 13,
    "a_waiting_refund_stays": 7,
    "orphan_money_dropped": 14,
    "revision_not_checked": 10,
    "events_move_what_was_remembered": 6,
    "terms_token_not_checked": 53,
    "holds_are_never_given_back": 23,
    "shares_without_end": 3,
    "one_share_for_everybody": 23,
    "a_signed_code_is_enough": 7,
    "scanners_miss_that_bookings_end": 3,
    "the_last_message_says_what_stripe_is_asked": 26,
}
