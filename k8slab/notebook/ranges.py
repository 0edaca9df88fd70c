"""An address range shown bit by bit: what is fixed, what is free, and who is in it."""

from __future__ import annotations

import ipaddress

from k8slab.errors import UsageError

Range = ipaddress.IPv4Network | ipaddress.IPv6Network


def explain_range(text: str, *addresses: str) -> str:
    """Return a range, and some addresses, as lines of bits; `UsageError` for what is none."""
    try:
        block = ipaddress.ip_network(text)
        found = [ipaddress.ip_address(one) for one in addresses]
    except ValueError as error:
        raise UsageError(f"{error}", hint="a range is written like 10.1.2.0/25") from error
    width = max(len(word) for word in (text, *addresses))
    lines = [f"{text:<{width}}  {_bits(block.network_address.packed, block.prefixlen)}"]
    for address in found:
        told = "in the range" if address in block else "not in the range"
        bits = _bits(address.packed, block.prefixlen)
        lines.append(f"{address!s:<{width}}  {bits}  {told}")
    size = f"{block.num_addresses:,} addresses, {block[0]} to {block[-1]}"
    return "\n".join([*lines, f"{block.prefixlen} bits are fixed (left of |): {size}"])


def _bits(packed: bytes, fixed: int) -> str:
    """Return the bits in groups of eight, with a bar where the fixed ones end."""
    bits = [bit for byte in packed for bit in f"{byte:08b}"]
    return "".join(
        ("|" if n == fixed else "." if n % 8 == 0 and n else "") + bit for n, bit in enumerate(bits)
    )
