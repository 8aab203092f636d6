"""Which amounts Stripe accepts in each currency, and the one rule function that finds what is wrong with one.

Source: https://docs.stripe.com/currencies, read on 2026-11-28 as of September 2026:

- *Which currencies exist:* "Supported presentment currencies". Which of them an account may charge depends on
  its country; Stripe refuses the others.
- *Exponent:* two decimals unless "Zero-decimal currencies" lists it. The three-decimal currencies are offered to
  accounts of some countries (`?presentment-currency=AE#three-decimal`): amounts are in thousandths, and the last
  digit must be 0.
- *Special cases:* ISK and UGX have no decimals any more, but their amounts are written with two, always `00`:
  exponent 2, step 100. HUF and TWD are without decimals for payouts only; charges in them have two.
- *Minimum:* "Minimum charge amount by currency". It holds where an account settles in that currency. For every
  other currency the page states none: Stripe converts the amount into the currency that the account settles in and
  compares there, which cannot be known beforehand, so `minimum` is None and Stripe decides.
- *Maximum:* "Maximum charge amounts". Cards allow up to 12 digits, other payment methods 12 for IDR, 10 for COP, 9
  for INR and 8 for all others. The method is chosen when a customer pays: the limit is what every method allows.

The stand-in for Stripe has a table of its own, from the same page.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

SOURCE = "https://docs.stripe.com/currencies"


class CurrencyRules(NamedTuple):
    """One currency in Stripe's API; amounts are in its minor unit."""

    code: str
    # An amount divided by 10**exponent is in the main unit.
    exponent: int
    # The smallest amount that Stripe charges; None: Stripe states none for this currency.
    minimum: int | None
    # The largest amount that every payment method accepts.
    maximum: int
    # Every amount is a multiple of this.
    step: int


_CODES = (
    "aed afn all amd ang aoa ars aud awg azn bam bbd bdt bhd bif bmd bnd bob brl bsd bwp byn bzd cad cdf "
    "chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd hnl "
    "htg huf idr ils inr isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga "
    "mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar "
    "ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std szl thb tjs tnd top try ttd twd tzs uah ugx "
    "usd uyu uzs vnd vuv wst xaf xcd xcg xof xpf yer zar zmw"
)
_ZERO_DECIMAL_CODES = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"
_ZERO_DECIMAL = frozenset(_ZERO_DECIMAL_CODES.split())
_THREE_DECIMAL = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))
_ALWAYS_00 = frozenset(("isk", "ugx"))

_MINIMUM = {
    "aed": 200, "ars": 50, "aud": 50, "brl": 50, "cad": 50, "chf": 50, "cop": 50, "czk": 1500, "dkk": 250,
    "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "idr": 50, "ils": 50, "inr": 50, "jpy": 50, "krw": 50,
    "mxn": 1000, "myr": 200, "nok": 300, "nzd": 50, "php": 50, "pln": 200, "ron": 200, "rub": 50, "sek": 300,
    "sgd": 50, "thb": 1000, "usd": 50, "zar": 50,
}  # fmt: skip
_MAXIMUM_DIGITS = {"idr": 12, "cop": 10, "inr": 9}


def _currency(code: str) -> CurrencyRules:
    exponent = 0 if code in _ZERO_DECIMAL else 3 if code in _THREE_DECIMAL else 2
    step = 100 if code in _ALWAYS_00 else 10 if code in _THREE_DECIMAL else 1
    maximum = 10 ** _MAXIMUM_DIGITS.get(code, 8) - 1
    return CurrencyRules(code, exponent, _MINIMUM.get(code), maximum - maximum % step, step)


CURRENCIES: Mapping[str, CurrencyRules] = MappingProxyType({code: _currency(code) for code in _CODES.split()})

# The largest in any currency: the limit of a field that is read without its currency.
LARGEST_AMOUNT = max(currency.maximum for currency in CURRENCIES.values())


class AmountFault(NamedTuple):
    """Why an amount cannot be charged. `code` is stable and part of the API, `limit` is in the minor unit."""

    code: str
    limit: int
    text: str


def exponent_of(code: str) -> int | None:
    """How many decimals amounts in this currency have; None for a currency that the table does not have."""
    currency = CURRENCIES.get(code)
    return None if currency is None else currency.exponent


def step_of(code: str) -> int:
    """Of what every amount in this currency is a multiple."""
    currency = CURRENCIES.get(code)
    return 1 if currency is None else currency.step


def fault_of(amount: int, code: str) -> AmountFault | None:
    """What is wrong with one charge of `amount` (more than 0) in the currency `code`; None when nothing is.

    In a currency that the table does not have only LARGEST_AMOUNT limits it: events that were made before their
    currency was checked, or while Stripe accepted it, stay on sale, and Stripe decides.
    """
    currency = CURRENCIES.get(code)
    if amount > (limit := LARGEST_AMOUNT if currency is None else currency.maximum):
        return AmountFault("amount_over_limit", limit, f"one payment in {code} may be at most {limit}")
    if currency is None:
        return None
    if (step_fault := part_fault_of(amount, code)) is not None:
        return step_fault
    if currency.minimum is not None and amount < currency.minimum:
        text = f"one payment in {code} must be at least {currency.minimum}"
        return AmountFault("amount_under_limit", currency.minimum, text)
    return None


def part_fault_of(amount: int, code: str) -> AmountFault | None:
    """What is wrong with `amount` as a part of a charge, such as a refund: it must be a multiple of the step."""
    currency = CURRENCIES.get(code)
    if currency is None or amount % currency.step == 0:
        return None
    return AmountFault("amount_off_step", currency.step, f"amounts in {code} must be multiples of {currency.step}")
