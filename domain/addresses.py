"""Where callbacks may go: which addresses are public, and which URLs an endpoint may have.

Pure: nothing is resolved here. A name that looks harmless can stand for any address, so the
sender asks `may_connect` again about the very address that it is about to connect to.
"""

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

URL_LENGTH_MAX: Final = 2048
HTTPS_PORT: Final = 443

Address = IPv4Address | IPv6Address

# Python's `is_global` follows the registries of the Python that happens to run, and takes
# 224.0.0.1, 64:ff9b::a00:1 and 2002:a00:1:: for global. This list is ours, and the same for ever:
# https://www.iana.org/assignments/iana-ipv4-special-registry
_SPECIAL_V4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers; some clouds keep their metadata there
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

# Of IPv6 only 2000::/3 is handed out at all. That leaves out ::1, IPv4-mapped (::ffff:0:0/96) and
# NAT64 (64:ff9b::/96, 64:ff9b:1::/48) addresses, unique local, link-local and multicast ones.
_UNICAST_V6: Final = IPv6Network("2000::/3")
_SPECIAL_V6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
)

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?]*)(?P<rest>[/?].*)?", re.IGNORECASE
)
_AUTHORITY: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>.*))?")
_REST: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_NAME_LENGTH_MAX: Final = 253

_NOT_PUBLIC: Final = "must lead to a public address"


def is_public(address: str | Address) -> bool:
    """Whether this is an address that anybody on the internet may be reached at.

    An address that stands for another one (IPv4-mapped, NAT64, 6to4, Teredo) is not, whatever it
    stands for, and neither is one with a zone. Text that is no address is not.
    """
    parsed = _parsed(address)
    if isinstance(parsed, IPv4Address):
        return not _within(parsed, _SPECIAL_V4)
    if isinstance(parsed, IPv6Address):
        return (
            parsed.scope_id is None and parsed in _UNICAST_V6 and not _within(parsed, _SPECIAL_V6)
        )
    return False


def may_connect(address: str | Address, port: int, *, allow_loopback: bool = False) -> bool:
    """Whether a callback may be sent to this very address and port.

    `allow_loopback` is for development: this machine itself, on any port.
    """
    if allow_loopback and _is_loopback(_parsed(address)):
        return True
    return port == HTTPS_PORT and is_public(address)


def check_url(url: str, *, allow_loopback: bool = False) -> str | None:
    """Say why callbacks cannot be sent to this URL; None if, by its looks, they can.

    It must be https, to port 443, of a name or a public address written in the usual way, without
    user, password and fragment. `allow_loopback` is for development: http or https to this
    machine, on any port. The reason repeats nothing of the URL.
    """
    if len(url) > URL_LENGTH_MAX:
        return f"must be at most {URL_LENGTH_MAX} characters"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "must be of visible ASCII characters alone: names as xn--…, the rest as %…"
    if "#" in url:
        return "must have no fragment"
    parts = _URL.fullmatch(url)
    if parts is None:
        return "must be an https URL"
    if "@" in parts["authority"]:
        return "must have no user or password"
    if not _REST.fullmatch(parts["rest"] or ""):
        return "holds a character that must be written as %…"
    authority = _AUTHORITY.fullmatch(parts["authority"])
    if authority is None or not authority["host"]:
        return "must have a host"
    return _check_place(
        parts["scheme"].lower(), authority["host"].lower(), authority["port"], allow_loopback
    )


def _check_place(scheme: str, host: str, port: str | None, allow_loopback: bool) -> str | None:
    literal = _literal(host)
    if allow_loopback and (host == "localhost" or _is_loopback(literal)):
        return None if port is None or _is_port(port) else "must have a port from 1 to 65535"
    if scheme != "https":
        return "must be an https URL"
    if port is not None and port != str(HTTPS_PORT):
        return f"must be on port {HTTPS_PORT}"
    if literal is not None:
        return None if is_public(literal) else _NOT_PUBLIC
    return _check_name(host)


def _check_name(host: str) -> str | None:
    labels = host.split(".")
    # Whatever ends in a number is an IPv4 address to a resolver: decimal, hexadecimal or octal,
    # with one to four parts (https://url.spec.whatwg.org/#ends-in-a-number-checker). The usual
    # spelling was recognised before; the others serve only to hide something.
    if _NUMBER.fullmatch(labels[-1]):
        return "must have a name, or an address in the usual spelling"
    if len(host) > _NAME_LENGTH_MAX or not all(map(_LABEL.fullmatch, labels)):
        return "must have a host that is a name or an address"
    if len(labels) < 2 or labels[-1] == "localhost":
        return _NOT_PUBLIC
    return None


def _literal(host: str) -> Address | None:
    """The address that a host is, in the usual spelling; None if it is something else."""
    bracketed = host.startswith("[")
    parsed = _parsed(host[1:-1] if bracketed else host)
    return parsed if isinstance(parsed, IPv6Address) == bracketed else None


def _parsed(address: str | Address) -> Address | None:
    if not isinstance(address, str):
        return address
    try:
        return ip_address(address)
    except ValueError:
        return None


def _is_loopback(address: Address | None) -> bool:
    # A mapped loopback address is none: `is_loopback` differs there between releases of Python.
    return address == IPv6Address("::1") or (
        isinstance(address, IPv4Address) and address.is_loopback
    )


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[1-9][0-9]{0,4}", text) is not None and int(text) <= 65_535


def _within(address: Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address in network for network in networks)
