"""Which addresses are on the internet, and which lead into a private network."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

# Addresses of IPv6 that stand for one of IPv4 in their last 32 bits; a translator on the way would unwrap them.
_IPV4_IN_IPV6 = tuple(map(ipaddress.IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96")))
# `ipaddress` calls these global: protocol assignments (Oracle's metadata service) and Azure's host service.
_LOCAL_IPV4 = tuple(map(ipaddress.IPv4Network, ("192.0.0.0/24", "168.63.129.16/32")))
# Tunnels into IPv4, which would carry a request past every check below.
_TUNNELS = tuple(map(ipaddress.IPv6Network, ("2002::/16", "2001::/32")))


def is_public(address: str) -> bool:
    """Whether an IP address is on the internet: not loopback, private, link-local, metadata, multicast or reserved."""
    ip = ipaddress.ip_address(address)
    if ip.version == 6 and any(ip in network for network in _IPV4_IN_IPV6):
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if not ip.is_global or ip.is_multicast or ip.is_reserved:
        return False
    if ip.version == 4:
        return not any(ip in network for network in _LOCAL_IPV4)
    return not (ip.is_site_local or any(ip in network for network in _TUNNELS))


@dataclass(frozen=True, slots=True)
class Private:
    """The private places that may be connected to: everywhere, or hosts by name, and networks."""

    everywhere: bool = False
    names: frozenset[str] = frozenset()
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()

    @classmethod
    def of(cls, everywhere: bool, hosts: Sequence[str]) -> Self:
        """`hosts` are names, addresses and networks such as `10.1.0.0/16`. Raises `ValueError`."""
        networks = [ipaddress.ip_network(host) for host in hosts if is_network(host)]
        names = [host.lower().rstrip(".") for host in hosts if not is_network(host)]
        return cls(everywhere, frozenset(names), tuple(networks))

    def named(self, host: str) -> bool:
        """Whether whatever address a host has may be connected to."""
        return self.everywhere or host.lower().rstrip(".") in self.names

    def holds(self, address: str) -> bool:
        """Whether an IP address may be connected to though it is not public."""
        ip = ipaddress.ip_address(address)
        return self.everywhere or any(ip in network for network in self.networks)

    def allows(self, host: str) -> bool:
        """Whether a host of a URL may be private, and sent to unencrypted."""
        return self.named(host) or (is_address(host) and self.holds(host))


def is_address(host: str) -> bool:
    """Whether a host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_network(host: str) -> bool:
    """Whether a host is an IP address or a network of some."""
    return is_address(host) or "/" in host
