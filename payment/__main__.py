"""`python -m payment`."""

from common.runtime.process import main
from payment.app import build_app
from payment.settings import PaymentSettings

if __name__ == "__main__":
    main("payment", PaymentSettings, build_app)
