"""The table of currencies is what Stripe's page says, and the stand-in's table says the same."""

from __future__ import annotations

import pytest

from common.contracts.currencies import CURRENCIES, LARGEST_AMOUNT, exponent_of, fault_of, part_fault_of
from sandbox import currencies as stand_in
from sandbox.errors import ParameterError

# Copied by hand from https://docs.stripe.com/currencies: code, exponent, minimum, maximum, step.
PAGE = [
    ("usd", 2, 50, 99_999_999, 1),
    ("eur", 2, 50, 99_999_999, 1),
    ("gbp", 2, 30, 99_999_999, 1),
    ("czk", 2, 1500, 99_999_999, 1),
    ("mxn", 2, 1000, 99_999_999, 1),
    ("jpy", 0, 50, 99_999_999, 1),
    ("krw", 0, 50, 99_999_999, 1),
    ("vnd", 0, None, 99_999_999, 1),
    ("clp", 0, None, 99_999_999, 1),
    ("kwd", 3, None, 99_999_990, 10),
    ("bhd", 3, None, 99_999_990, 10),
    ("isk", 2, None, 99_999_900, 100),
    ("ugx", 2, None, 99_999_900, 100),
    ("huf", 2, 17_500, 99_999_999, 1),
    ("twd", 2, None, 99_999_999, 1),
    ("idr", 2, 50, 999_999_999_999, 1),
    ("cop", 2, 50, 9_999_999_999, 1),
    ("inr", 2, 50, 999_999_999, 1),
    ("chf", 2, 50, 99_999_999, 1),
    ("xcg", 2, None, 99_999_999, 1),
]


@pytest.mark.parametrize(("code", "exponent", "minimum", "maximum", "step"), PAGE)
def test_a_currency_is_as_the_page_has_it(
    code: str, exponent: int, minimum: int | None, maximum: int, step: int
) -> None:
    assert CURRENCIES[code] == (code, exponent, minimum, maximum, step)
    assert exponent_of(code) == exponent


@pytest.mark.parametrize("code", ["eru", "xxx", "EUR", "bgn", "hrk", ""])
def test_what_the_page_does_not_list_is_not_there(code: str) -> None:
    """Such as the lev and the kuna, which the euro has replaced."""
    assert code not in CURRENCIES
    assert exponent_of(code) is None


def test_every_currency_has_limits_that_fit_one_another() -> None:
    for each in CURRENCIES.values():
        assert each.maximum % each.step == 0
        assert each.minimum is None or 0 < each.minimum <= each.maximum
        assert each.minimum is None or each.minimum % each.step == 0
    assert max(each.maximum for each in CURRENCIES.values()) == LARGEST_AMOUNT == 999_999_999_999


FAULTS = [
    # amount, currency, what is wrong with one charge of it, the limit
    (50, "eur", None, None),
    (49, "eur", "amount_under_limit", 50),
    (1, "eur", "amount_under_limit", 50),
    (99_999_999, "eur", None, None),
    (100_000_000, "eur", "amount_over_limit", 99_999_999),
    (100_000_000, "idr", None, None),
    (999_999_999_999, "idr", None, None),
    (1_000_000_000_000, "idr", "amount_over_limit", 999_999_999_999),
    (49, "idr", "amount_under_limit", 50),
    (999_999_999, "inr", None, None),
    (1_000_000_000, "inr", "amount_over_limit", 999_999_999),
    (49, "jpy", "amount_under_limit", 50),
    (50, "jpy", None, None),
    (17_499, "huf", "amount_under_limit", 17_500),
    (17_501, "huf", None, None),
    (1, "vnd", None, None),
    (500, "isk", None, None),
    (501, "isk", "amount_off_step", 100),
    (50, "ugx", "amount_off_step", 100),
    (5120, "kwd", None, None),
    (5124, "kwd", "amount_off_step", 10),
    (99_999_999, "kwd", "amount_over_limit", 99_999_990),
    (1, "eru", None, None),
    (LARGEST_AMOUNT + 1, "eru", "amount_over_limit", LARGEST_AMOUNT),
]


@pytest.mark.parametrize(("amount", "code", "fault", "limit"), FAULTS)
def test_a_charge_is_within_its_currencys_limits(
    amount: int, code: str, fault: str | None, limit: int | None
) -> None:
    """The fault has the limit in the minor unit, and in its text."""
    found = fault_of(amount, code)

    assert (found and found.code, found and found.limit) == (fault, limit)
    assert found is None or str(limit) in found.text


@pytest.mark.parametrize(
    ("amount", "code", "limit"),
    [(1, "eur", None), (100, "isk", None), (50, "isk", 100), (5, "kwd", 10), (5, "eru", None)],
)
def test_of_a_part_only_the_step_counts(amount: int, code: str, limit: int | None) -> None:
    found = part_fault_of(amount, code)
    assert (found and found.limit) == limit


def refused(amount: int, code: str) -> bool:
    try:
        stand_in.check_amount(amount, code)
    except ParameterError:
        return True
    return False


def test_the_sandbox_accepts_what_the_table_accepts() -> None:
    """For every currency, at each limit and just beside it; with the same number of decimals. Where the table has
    no minimum, Stripe may have one after conversion."""
    assert set(CURRENCIES) == stand_in.SUPPORTED
    for code, each in CURRENCIES.items():
        least = each.minimum or max(each.step, stand_in.LEAST_CONVERTED.get(code, 1))
        around = [least + each.step, each.maximum, each.maximum - each.step]
        beyond = [each.maximum + 1, each.maximum + each.step, least + 1, 10**12, (each.minimum or 0) - 1]
        for amount in (least, *around, *(amount for amount in beyond if amount > 0)):
            assert refused(amount, code) is (fault_of(amount, code) is not None), (amount, code)
        assert stand_in.digits(code) == each.exponent
