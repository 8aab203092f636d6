"""To which addresses webhooks may be sent: those of the internet, unless operators allow others.

An endpoint's URL comes from outside, so it may name a service of the operators' own network (server-side request
forgery). What counts is the address to which the socket connects: names are resolved once, for that socket alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

# https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast. Written out, as what Python's
# `is_global` says has changed from release to release.
NOT_PUBLIC_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by a provider's customers (CGNAT)
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local: also the metadata services of clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # relays of 6to4, deprecated
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
# https://www.iana.org/assignments/ipv6-address-space: all public addresses are in here, but for those that have an
# IPv4 address in them.
PUBLIC_V6 = IPv6Network("2000::/3")
# https://www.iana.org/assignments/iana-ipv6-special-registry: those of PUBLIC_V6.
NOT_PUBLIC_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments, such as Teredo and ORCHID
            "2001:db8::/32",  # documentation
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)
# IPv6 addresses that lead to an IPv4 address, and how many of their bits are behind it.
WITH_V4 = (
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped: the socket speaks IPv4
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64: https://www.rfc-editor.org/rfc/rfc6052
    (IPv6Network("2002::/16"), 80),  # 6to4: https://www.rfc-editor.org/rfc/rfc3056
)

Address = IPv4Address | IPv6Address


def read_address(text: str) -> Address | None:
    """The address that `text` is; None for a name. An IPv6 address may have its brackets."""
    try:
        return ip_address(text.strip("[]"))
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether this is an address of the internet."""
    if isinstance(address, IPv4Address):
        return not _in(address, NOT_PUBLIC_V4)
    for network, behind in WITH_V4:
        if address in network:
            return is_public(IPv4Address(int(address) >> behind & 0xFFFFFFFF))
    return address in PUBLIC_V6 and address.scope_id is None and not _in(address, NOT_PUBLIC_V6)


def _in(address: Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)
