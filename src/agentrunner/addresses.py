"""Which network addresses code and URLs of a model may reach: public ones only. It resolves nothing.

`ipaddress.is_private` is not enough: addresses can hide inside IPv6, and some metadata services have public ones.
Registries: https://www.iana.org/assignments/iana-ipv4-special-registry and iana-ipv6-special-registry.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address

_METADATA = frozenset({"169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192"})
"""Cloud metadata services. Azure's 168.63.129.16 is a public address, so no range covers it."""

_RANGES_4 = tuple(
    IPv4Network(net)
    for net in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/3",
    )
)  # fmt: skip
_GLOBAL_6 = IPv6Network("2000::/3")  # everything that was ever given out as global unicast lies in it
_RANGES_6 = tuple(IPv6Network(net) for net in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_NAT64 = IPv6Network("64:ff9b::/96")
_ISATAP = (0x5EFE, 0x02005EFE)


def why_not_public(address: Address) -> str:
    """Why this address must not be reached, as words after "it is"; empty when it may be."""
    if isinstance(address, IPv4Address):
        if str(address) in _METADATA:
            return "a cloud metadata service"
        if address.is_loopback:
            return "this machine itself (loopback)"
        return "private or reserved" if any(address in net for net in _RANGES_4) else ""
    if address.scope_id:
        return "an IPv6 address with a zone"
    if address.is_loopback:
        return "this machine itself (loopback)"
    if address in _NAT64:  # what a network without IPv4 answers for a host that has nothing else
        return why_not_public(IPv4Address(int(address) & 0xFFFFFFFF))
    if address not in _GLOBAL_6 or any(address in net for net in _RANGES_6):
        # Mapped, translated, 6to4 and Teredo forms of an IPv4 address are among these: no public host needs them.
        return "private, reserved, or an IPv4 address in an IPv6 form"
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        return "an IPv4 address in an IPv6 form"
    return ""
