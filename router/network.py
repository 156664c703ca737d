"""Which addresses are on the internet, and which lead into a private network."""

import ipaddress

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
