"""Currencies and the least amounts that Stripe takes in them.

https://docs.stripe.com/currencies
"""

from sandbox.errors import ParameterError

_CODES = (
    "usd aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bif bmd bnd bob brl bsd bwp byn bzd cad "
    "cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gnf gtq gyd hkd "
    "hnl htg huf idr ils inr isk jmd jpy kes kgs khr kmf krw kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd "
    "mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln pyg qar ron rsd "
    "rub rwf sar sbd scr sek sgd shp sle sos srd std szl thb tjs top try ttd twd tzs uah ugx uyu uzs vnd "
    "vuv wst xaf xcd xof xpf yer zar zmw bhd jod kwd omr tnd"
)
SUPPORTED = frozenset(_CODES.split())

_WHOLE_CODES = "bif clp djf gnf jpy kmf krw mga pyg rwf ugx vnd vuv xaf xof xpf"
WITHOUT_MINOR_UNIT = frozenset(_WHOLE_CODES.split())
WITH_THOUSANDTHS = frozenset(("bhd", "jod", "kwd", "omr", "tnd"))
SYMBOLS = {"usd": "$", "eur": "€", "gbp": "£", "jpy": "¥"}

LEAST_AMOUNT = {
    "aed": 200, "bgn": 100, "czk": 1500, "dkk": 250, "gbp": 30, "hkd": 400, "huf": 17500, "mxn": 1000,
    "myr": 200, "nok": 300, "pln": 200, "ron": 200, "sek": 300, "thb": 1000,
}  # fmt: skip
LEAST_AMOUNT_ELSE = 50

AMOUNT_MAX = 99_999_999
"""Eight digits, in the currency's smallest unit."""


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
    """Refuse what is too little or too much to be charged.

    Raises:
        ParameterError: with the code `amount_too_small` or `amount_too_large`.
    """
    least = LEAST_AMOUNT.get(currency, LEAST_AMOUNT_ELSE)
    if amount < least:
        message = f"Amount must be at least {formatted(least, currency)} {currency}"
        raise ParameterError(message, "amount", "amount_too_small")
    if amount > AMOUNT_MAX:
        message = f"Amount must be no more than {formatted(AMOUNT_MAX, currency)}"
        raise ParameterError(message, "amount", "amount_too_large")


def formatted(amount: int, currency: str) -> str:
    """The amount in the currency's main unit, as Stripe's messages write it."""
    symbol = SYMBOLS.get(currency, "")
    if currency in WITHOUT_MINOR_UNIT:
        return f"{symbol}{amount:,}"
    digits = 3 if currency in WITH_THOUSANDTHS else 2
    return f"{symbol}{amount / 10**digits:,.{digits}f}"
