"""Functions of IPv4 and IPv6 addresses. Pure.

An address may have a prefix behind a slash. Where two have one, and a function is given one, the
shortest of them counts (ipv4-compare-function.md). An IPv4 address is compared with IPv6 ones as
``::ffff:a.b.c.d``, its prefix then being 96 longer.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Final

from cluster.query.native.spec import Native, is_whole, refused

_V4_BITS: Final = 32
_V6_BITS: Final = 128
_MAPPED: Final = 0xFFFF << _V4_BITS

_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9][0-9]|[0-9])"
_V4: Final = re.compile(rf"({_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET})(?:/(3[0-2]|[12][0-9]|[0-9]))?")
_DOTTED_V6: Final = re.compile(r"::(?:[fF]{4}:)?(\d[^:]*)")
_V6: Final = re.compile(r"([0-9A-Fa-f:]{2,39})(?:/([0-9]{1,3}))?")
_V4_WITHIN: Final = re.compile(
    rf"(?<![A-Za-z0-9])(?=({_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET})(?![A-Za-z0-9]))"
)
_V4_PREFIX: Final = re.compile(rf"(?:{_OCTET}\.){{1,3}}")

Address = tuple[int, int]
"""An address as a number, and its prefix."""


def parse_v4(text: str) -> Address | None:
    """An IPv4 address, None if ``text`` is none."""
    found = _V4.fullmatch(text)
    if found is None:
        return None
    prefix = _V4_BITS if found[2] is None else int(found[2])
    a, b, c, d = map(int, found[1].split("."))
    return a << 24 | b << 16 | c << 8 | d, prefix


def parse_v6(text: str) -> Address | None:
    """An IPv6 or IPv4 address in 128 bits, None if ``text`` is neither."""
    dotted = _DOTTED_V6.fullmatch(text)
    plain = parse_v4(text if dotted is None else dotted[1])
    if plain is not None:
        return _MAPPED | plain[0], plain[1] + _V6_BITS - _V4_BITS
    found = _V6.fullmatch(text)
    if found is None:
        return None
    prefix = _V6_BITS if found[2] is None else int(found[2])
    try:
        return (int(ipaddress.IPv6Address(found[1])), prefix) if prefix <= _V6_BITS else None
    except ValueError:
        return None


def _masked(address: int, prefix: int, bits: int) -> int:
    return address >> (bits - prefix) << (bits - prefix)


def _both(one: Address | None, other: Address | None, prefix: int | None, bits: int) -> Any:
    if one is None or other is None or (prefix is not None and not 0 <= prefix <= bits):
        return None
    shortest = min(one[1], other[1], bits if prefix is None else prefix)
    return _masked(one[0], shortest, bits), _masked(other[0], shortest, bits)


def _order(pair: Any) -> int | None:
    return None if pair is None else (pair[0] > pair[1]) - (pair[0] < pair[1])


def ipv4_compare(one: str, other: str, prefix: int | None = None) -> int | None:
    """-1, 0 or 1 as the first is less, equal or greater."""
    return _order(_both(parse_v4(one), parse_v4(other), prefix, _V4_BITS))


def ipv4_is_match(one: str, other: str, prefix: int | None = None) -> bool | None:
    """Whether two addresses are equal."""
    order = ipv4_compare(one, other, prefix)
    return None if order is None else order == 0


def ipv6_compare(one: str, other: str, prefix: int | None = None) -> int | None:
    """-1, 0 or 1 as the first is less, equal or greater."""
    if prefix is not None and parse_v4(one) and parse_v4(other) and prefix < _V6_BITS:
        by_v6 = _order(_both(parse_v6(one), parse_v6(other), prefix, _V6_BITS))
        if by_v6 != ipv4_compare(one, other, min(max(prefix, 0), _V4_BITS)):
            raise refused("an IPv6 prefix for two IPv4 addresses")
    return _order(_both(parse_v6(one), parse_v6(other), prefix, _V6_BITS))


def ipv6_is_match(one: str, other: str, prefix: int | None = None) -> bool | None:
    """Whether two addresses are equal."""
    order = ipv6_compare(one, other, prefix)
    return None if order is None else order == 0


def _is_within(address: Address | None, network: Address | None, bits: int) -> bool | None:
    if address is None or network is None:
        return None
    own = _masked(address[0], address[1], bits)
    return _masked(own, network[1], bits) == _masked(network[0], network[1], bits)


def ipv4_is_in_range(address: str, network: str) -> bool | None:
    """Whether an address is of a network."""
    return _is_within(parse_v4(address), parse_v4(network), _V4_BITS)


def ipv6_is_in_range(address: str, network: str) -> bool | None:
    """Whether an address is of a network."""
    return _is_within(parse_v6(address), parse_v6(network), _V6_BITS)


def _listed(values: list[Any]) -> list[str] | None:
    given = [p for value in values for p in (value if isinstance(value, list) else [value])]
    return given if given and all(isinstance(one, str) for one in given) else None


def _in_any(found: list[bool | None]) -> bool | None:
    if any(found):
        return True
    return None if None in found else False


def ipv4_is_in_any_range(address: str, networks: list[Any]) -> bool | None:
    """Whether an address is of any of some networks."""
    listed = _listed(networks)
    return None if listed is None else _in_any([ipv4_is_in_range(address, n) for n in listed])


def ipv6_is_in_any_range(address: str, networks: list[Any]) -> bool | None:
    """Whether an address is of any of some networks."""
    listed = _listed(networks)
    return None if listed is None else _in_any([ipv6_is_in_range(address, n) for n in listed])


def ipv4_netmask_suffix(address: str) -> int | None:
    """The prefix of an address, 32 without one."""
    found = parse_v4(address)
    return None if found is None else found[1]


def parse_ipv4_mask(address: str, prefix: int | None) -> int | None:
    """An address as a number, by the shorter of its prefix and ``prefix``."""
    found = parse_v4(address)
    if found is None or prefix is None or not 0 <= prefix <= _V4_BITS:
        return None
    return _masked(found[0], min(found[1], prefix), _V4_BITS)


def parse_ipv6_mask(address: str, prefix: int | None) -> str | None:
    """An address in full, by the shorter of its prefix and ``prefix``."""
    found = parse_v6(address)
    if found is None or prefix is None or not 0 <= prefix <= _V6_BITS:
        return None
    masked = _masked(found[0], min(found[1], prefix), _V6_BITS)
    return ipaddress.IPv6Address(masked).exploded


def _formatted(address: Any, prefix: int | None) -> Address | None:
    if is_whole(address):
        found = (address, _V4_BITS) if 0 <= address < 2**_V4_BITS else None
    else:
        found = parse_v4(address) if isinstance(address, str) else None
    if found is None or (prefix is not None and not 0 <= prefix <= _V4_BITS):
        return None
    shortest = min(found[1], _V4_BITS if prefix is None else prefix)
    return _masked(found[0], shortest, _V4_BITS), shortest


def format_ipv4(address: Any, prefix: int | None = None) -> str | None:
    """An address, text or number, by its prefix."""
    found = _formatted(address, prefix)
    return None if found is None else str(ipaddress.IPv4Address(found[0]))


def format_ipv4_mask(address: Any, prefix: int | None = None) -> str | None:
    """The same with the prefix behind a slash."""
    found = _formatted(address, prefix)
    return None if found is None else f"{ipaddress.IPv4Address(found[0])}/{found[1]}"


def ipv4_range_to_cidr_list(first: str, last: str) -> list[str] | None:
    """The networks that make up all addresses from ``first`` to ``last``."""
    low, high = parse_v4(first), parse_v4(last)
    if low is None or high is None:
        return None
    if low[1] != _V4_BITS or high[1] != _V4_BITS or low[0] > high[0]:
        raise refused("ipv4_range_to_cidr_list() of addresses with prefixes, or out of order")
    bounds = (ipaddress.IPv4Address(low[0]), ipaddress.IPv4Address(high[0]))
    return [str(network) for network in ipaddress.summarize_address_range(*bounds)]


def has_any_ipv4(text: str, addresses: list[Any]) -> bool:
    """Whether any of some addresses stands in ``text``, nothing alphanumeric beside it."""
    wanted = {one for one in _listed(addresses) or () if _V4.fullmatch(one) and "/" not in one}
    return any(found in wanted for found in _V4_WITHIN.findall(text)) if wanted else False


def has_any_ipv4_prefix(text: str, prefixes: list[Any]) -> bool:
    """Whether an address that begins with any of ``prefixes`` stands in ``text``.

    A prefix is an address, or some of its numbers, each with a dot behind it.
    """
    valid = [
        one
        for one in _listed(prefixes) or ()
        if _V4_PREFIX.fullmatch(one) or ("/" not in one and _V4.fullmatch(one))
    ]
    wanted = set(valid)
    return any(not wanted.isdisjoint(_prefixes(found)) for found in _V4_WITHIN.findall(text))


def _prefixes(address: str) -> tuple[str, ...]:
    a, b, c, _ = address.split(".")
    return address, f"{a}.{b}.{c}.", f"{a}.{b}.", f"{a}."


NATIVES: Final = (
    Native("ipv4_compare", ipv4_compare, "ssl", "long", 2),
    Native("ipv4_is_match", ipv4_is_match, "ssl", "bool", 2),
    Native("ipv4_is_in_range", ipv4_is_in_range, "ss", "bool", 2),
    Native("ipv4_is_in_any_range", ipv4_is_in_any_range, "ta+", "bool", 2),
    Native("ipv4_netmask_suffix", ipv4_netmask_suffix, "s", "long", 1),
    Native("parse_ipv4_mask", parse_ipv4_mask, "sl", "long", 2),
    Native("format_ipv4", format_ipv4, "al", "string", 1),
    Native("format_ipv4_mask", format_ipv4_mask, "al", "string", 1),
    Native("ipv4_range_to_cidr_list", ipv4_range_to_cidr_list, "ss", "dynamic", 2),
    Native("ipv6_compare", ipv6_compare, "ssl", "long", 2),
    Native("ipv6_is_match", ipv6_is_match, "ssl", "bool", 2),
    Native("ipv6_is_in_range", ipv6_is_in_range, "ss", "bool", 2),
    Native("ipv6_is_in_any_range", ipv6_is_in_any_range, "ta+", "bool", 2),
    Native("parse_ipv6_mask", parse_ipv6_mask, "sl", "string", 2),
    Native("has_ipv4", has_any_ipv4, "ta+", "bool", 2),
    Native("has_any_ipv4", has_any_ipv4, "ta+", "bool", 2),
    Native("has_ipv4_prefix", has_any_ipv4_prefix, "ta+", "bool", 2),
    Native("has_any_ipv4_prefix", has_any_ipv4_prefix, "ta+", "bool", 2),
)
