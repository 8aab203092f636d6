"""`python -m bench.reference`: one process of the reference."""

from bench.reference.app import build_app
from bench.reference.settings import ReferenceSettings
from common.runtime.process import main

if __name__ == "__main__":
    main("reference", ReferenceSettings, build_app)
