"""`python -m booking`."""

from booking.app import build_app
from booking.settings import BookingSettings
from common.runtime.process import main

if __name__ == "__main__":
    main("booking", BookingSettings, build_app)
