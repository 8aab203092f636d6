"""`python -m gateway`: the public interface."""

from common.runtime.process import main
from gateway.app import build_app
from gateway.settings import GatewaySettings

main("gateway", GatewaySettings, build_app)
