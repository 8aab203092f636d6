"""A client of Holdfast: the REST interface, guests' tokens, idempotency keys that outlive a lost answer or a
restart, and live changes over the WebSocket."""

from holdfast_client.client import Holdfast, is_decided, is_payable, is_waiting
from holdfast_client.errors import HoldfastError
from holdfast_client.live import ConnectionState
from holdfast_client.platform import FileStorage, MemoryStorage, Platform, Storage
from holdfast_client.rest import Listing, Request
from holdfast_client.tokens import Issued, TokenSource
from holdfast_client.topics import Watch

__all__ = [
    "ConnectionState",
    "FileStorage",
    "Holdfast",
    "HoldfastError",
    "Issued",
    "Listing",
    "MemoryStorage",
    "Platform",
    "Request",
    "Storage",
    "TokenSource",
    "Watch",
    "is_decided",
    "is_payable",
    "is_waiting",
]
