"""Currencies, and the amounts that Stripe accepts in them.

https://docs.stripe.com/currencies, read on 2026-11-28
"""

from sandbox.errors import ParameterError

_CODES = (
    "usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bif bmd bnd bob brl bsd bwp byn bzd cad "
    "cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd "
    "hnl htg huf idr ils inr isk jmd jpy kes kgs khr kmf krw kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd "
    "mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln pyg qar ron rsd "
    "rub rwf sar sbd scr sek sgd shp sle sos srd std szl thb tjs top try ttd twd tzs uah ugx uyu uzs vnd "
    "vuv wst xaf xcd xcg xof xpf yer zar zmw bhd jod kwd omr tnd"
)
SUPPORTED = frozenset(_CODES.split())

_WHOLE_CODES = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"
WITHOUT_MINOR_UNIT = frozenset(_WHOLE_CODES.split())
WITH_THOUSANDTHS = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))
SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}

STEP = {"isk": 100, "ugx": 100} | dict.fromkeys(WITH_THOUSANDTHS, 10)
"""Amounts are multiples of this: the decimals of ISK and UGX are always 00, the last of three is always 0."""

LEAST_AMOUNT = {
    "usd": 50, "aed": 200, "ars": 50, "aud": 50, "brl": 50, "cad": 50, "chf": 50, "cop": 50, "czk": 1500,
    "dkk": 250, "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "idr": 50, "ils": 50, "inr": 50, "jpy": 50,
    "krw": 50, "mxn": 1000, "myr": 200, "nok": 300, "nzd": 50, "php": 50, "pln": 200, "ron": 200, "rub": 50,
    "sek": 300, "sgd": 50, "thb": 1000, "zar": 50,
}  # fmt: skip
"""The minimum amounts that the page names."""

LEAST_CONVERTED = {"bhd": 190, "jod": 360, "omr": 200, "qar": 182, "sar": 188}
"""In other currencies the minimum is 50 cents in the account's settlement currency, here the US dollar. The
stand-in knows it for currencies with a fixed rate, and accepts any amount in the rest."""

LARGEST_AMOUNT = {"idr": 999_999_999_999, "cop": 9_999_999_999, "inr": 999_999_999}
LARGEST_AMOUNT_ELSE = 99_999_999
"""Eight digits, in the currency's smallest unit. Cards accept more; other payment methods do not."""


def read_currency(currency: str) -> str:
    """The currency's code in lower case.

    Raises:
        ParameterError: Stripe does not know it.
    """
    code = currency.lower()
    if code not in SUPPORTED:
        known = ", ".join(sorted(SUPPORTED))
        message = f"Invalid currency: {code}. Stripe currently supports these currencies: {known}"
        raise ParameterError(message, "currency")
    return code


def check_amount(amount: int, currency: str) -> None:
    """Refuse an amount that is too small or too large to be charged, or is not possible in the currency.

    Raises:
        ParameterError: with the code `amount_too_small` or `amount_too_large`; without one for a wrong step.
    """
    if amount < LEAST_CONVERTED.get(currency, 0):
        message = f"Amount must convert to at least 50 cents. {formatted(amount, currency)} {currency} is less."
        raise ParameterError(message, "amount", "amount_too_small")
    least = LEAST_AMOUNT.get(currency, 1)
    if amount < least:
        message = f"Amount must be at least {formatted(least, currency)} {currency}"
        raise ParameterError(message, "amount", "amount_too_small")
    most = LARGEST_AMOUNT.get(currency, LARGEST_AMOUNT_ELSE)
    if amount > most:
        message = f"Amount must be no more than {formatted(most, currency)}"
        raise ParameterError(message, "amount", "amount_too_large")
    check_step(amount, currency)


def check_step(amount: int, currency: str) -> None:
    """Refuse fractions that can neither be charged nor refunded.

    Raises:
        ParameterError: `amount` is no multiple of the currency's step.
    """
    step = STEP.get(currency, 1)
    if amount % step:
        raise ParameterError(f"Invalid amount: {currency} amounts must be divisible by {step}", "amount")


def digits(currency: str) -> int:
    """How many decimals amounts of the currency have."""
    return 0 if currency in WITHOUT_MINOR_UNIT else 3 if currency in WITH_THOUSANDTHS else 2


def formatted(amount: int, currency: str) -> str:
    """The amount in the currency's main unit, as Stripe's messages write it."""
    decimals = digits(currency)
    return f"{SYMBOLS.get(currency, '')}{amount / 10**decimals:,.{decimals}f}"
