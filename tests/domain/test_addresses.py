"""Where callbacks may go, however it is written."""

import ipaddress
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.addresses import URL_LENGTH_MAX, check_url, is_public, may_connect

INNER_V4 = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
]

inner_v4 = st.sampled_from(INNER_V4).flatmap(lambda network: st.ip_addresses(v=4, network=network))
any_v4 = st.ip_addresses(v=4)
any_v6 = st.ip_addresses(v=6)


def quads(address: IPv4Address, write: str) -> str:
    return ".".join(format(part, write) for part in address.packed)


def spellings(address: IPv4Address) -> list[str]:
    """All the ways that `inet_aton` and browsers take for the same address."""
    number = int(address)
    first, second = address.packed[:2]
    return [
        str(number),
        hex(number),
        hex(number).upper().replace("X", "x"),
        f"0{number:o}",
        quads(address, "#x"),
        quads(address, "04o"),
        quads(address, "03d"),
        f"{first}.{number & 0xFFFFFF}",
        f"{first}.{second}.{number & 0xFFFF}",
        f"{first:#x}.{number & 0xFFFFFF:#x}",
        f"{address}.",
        f"{number}.",
    ]


def carriers(address: IPv4Address) -> list[IPv6Address]:
    """The IPv6 addresses that lead to an IPv4 one."""
    number = int(address)
    prefixes = ["::ffff:0:0", "::", "64:ff9b::", "64:ff9b:1::", "::ffff:0:0:0"]
    embedded = [IPv6Address(int(IPv6Address(prefix)) | number) for prefix in prefixes]
    six_to_four = IPv6Address(0x2002 << 112 | number << 80 | 1)
    teredo = IPv6Address(0x20010000 << 96 | number ^ 0xFFFFFFFF)
    return [*embedded, six_to_four, teredo]


@given(inner_v4)
def test_an_inner_address_is_refused_in_every_spelling(address: IPv4Address) -> None:
    assert not is_public(address)
    assert not is_public(str(address))
    for host in (str(address), *spellings(address)):
        assert check_url(f"https://{host}/hook") is not None, host
        assert check_url(f"https://{host}:443") is not None, host


@given(any_v4)
def test_an_address_in_disguise_is_refused_whatever_it_stands_for(address: IPv4Address) -> None:
    for carrier in carriers(address):
        assert not is_public(carrier), carrier
        for host in (str(carrier), carrier.exploded, carrier.exploded.upper()):
            assert check_url(f"https://[{host}]/") is not None, host
    for host in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert check_url(f"https://[{host}]/") is not None, host


@given(any_v4)
def test_what_the_standard_library_knows_to_be_inner_is_never_public(address: IPv4Address) -> None:
    assert not is_public(address) or (address.is_global and not address.is_multicast)


@given(any_v6 | st.ip_addresses(v=6, network="2000::/3"))
def test_what_it_knows_of_ipv6_is_never_public_either(address: IPv6Address) -> None:
    assert not is_public(address) or (address.is_global and not address.is_multicast)


@given(any_v4 | any_v6)
def test_a_url_with_an_address_is_judged_as_the_address_is(
    address: IPv4Address | IPv6Address,
) -> None:
    host = f"[{address}]" if isinstance(address, IPv6Address) else str(address)

    assert (check_url(f"https://{host}/x?y=1") is None) == is_public(address)
    assert may_connect(address, 443) == is_public(address)


@given(st.text(max_size=80))
def test_whatever_is_sent_is_judged(text: str) -> None:
    for url in (text, f"https://{text}", f"https://a.example/{text}"):
        reason = check_url(url)
        assert reason is None or reason.startswith(("must", "holds"))


@pytest.mark.parametrize(
    "address",
    [
        "224.0.0.1", "255.255.255.255", "169.254.169.254", "100.100.100.200", "192.88.99.1",
        "203.0.113.9", "::", "::1", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1",
        "::ffff:8.8.8.8", "64:ff9b::a00:1", "64:ff9b::808:808", "64:ff9b:1::1", "2002:a00:1::",
        "2002:808:808::1", "2001::1", "2001:db8::1", "3fff::1", "5f00::1", "100::1",
        "2606:4700::1111%eth0", "localhost", "", "8.8.8", "8.8.8.08",
    ],
)  # fmt: skip
def test_it_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450::1"])
def test_it_is_public(address: str) -> None:
    assert is_public(address)
    assert is_public(ipaddress.ip_address(address))
    assert may_connect(address, 443)
    assert not may_connect(address, 80)
    assert not may_connect(address, 8443, allow_loopback=True)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com", "https://example.com/", "HTTPS://Example.COM/Hook",
        "https://hooks.example.co.rw:443/a/b?c=d&e=%20", "https://xn--bcher-kva.example/",
        "https://example.com?x", "https://example.com/@me:x", "https://8.8.8.8/",
        "https://[2606:4700::1111]/", "https://1.example/", "https://" + "a" * 63 + ".example",
    ],
)  # fmt: skip
def test_it_can_be_called(url: str) -> None:
    assert check_url(url) is None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://example.com/", "https"),
        ("ftp://example.com/", "https"),
        ("//example.com/", "https"),
        ("https:example.com", "https"),
        ("example.com", "https"),
        ("", "https"),
        ("https://", "host"),
        ("https:///hook", "host"),
        ("https://?x", "host"),
        ("https://:443/", "host"),
        ("https://user:password@example.com/", "user or password"),
        ("https://user@example.com/", "user or password"),
        ("https://@example.com/", "user or password"),
        ("https://example.com@10.0.0.1/", "user or password"),
        ("https://example.com/#part", "fragment"),
        ("https://example.com#", "fragment"),
        ("https://example.com:80/", "port 443"),
        ("https://example.com:8443/", "port 443"),
        ("https://example.com:0443/", "port 443"),
        ("https://example.com:/", "port 443"),
        ("https://example.com:٤٤٣/", "ASCII"),
        ("https://example.com/" + "x" * 3000, "2048 characters"),
        ("https://bücher.example/", "ASCII"),
        ("https://１２７.０.０.１/", "ASCII"),
        ("https://127。0。0。1/", "ASCII"),
        ("https://exam\u00adple.com/", "ASCII"),
        ("https://example.com/\u202e", "ASCII"),
        ("https://example.com/a b", "ASCII"),
        ("https://example.com/\n", "ASCII"),
        ("\thttps://example.com/", "ASCII"),
        ("https://exam\tple.com/", "ASCII"),
        ("https://example.com/\x00", "ASCII"),
        ("https://example.com\\@10.0.0.1/", "user or password"),
        ("https://example.com\\.evil.example/", "name or an address"),
        ("https://example.com/\\", "%"),
        ("https://example.com/<x>", "%"),
        ("https://example.com/%zz", "%"),
        ("https://ex%61mple.com/", "name or an address"),
        ("https://%31%32%37.0.0.1/", "usual spelling"),
        ("https://exa_mple.com/", "name or an address"),
        ("https://-example.com/", "name or an address"),
        ("https://example..com/", "name or an address"),
        ("https://example.com./", "name or an address"),
        ("https://" + "a" * 64 + ".example", "name or an address"),
        ("https://" + "a." * 127 + "example", "name or an address"),
        ("https://[8.8.8.8]/", "name or an address"),
        ("https://[::1/", "host"),
        ("https://2606:4700::1111/", "port 443"),
        ("https://localhost/", "public"),
        ("https://api.localhost/", "public"),
        ("https://LOCALHOST/", "public"),
        ("https://intranet/", "public"),
        ("https://127.0.0.1/", "public"),
        ("https://[::1]/", "public"),
        ("https://[fe80::1%25eth0]/", "public"),
        ("https://0/", "usual spelling"),
        ("https://0x/", "usual spelling"),
        ("https://a.0x7f/", "usual spelling"),
        ("https://1.2.3.4.5/", "usual spelling"),
        ("https://999.999.999.999/", "usual spelling"),
    ],
)
def test_it_cannot_be_called_and_the_reason_is_told(url: str, reason: str) -> None:
    told = check_url(url)

    assert told is not None
    assert reason in told


def test_a_url_is_as_long_as_it_may_be() -> None:
    start = "https://example.com/"

    assert check_url(start + "x" * (URL_LENGTH_MAX - len(start))) is None
    assert check_url(start + "x" * (URL_LENGTH_MAX - len(start) + 1)) is not None


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080/x", "http://localhost:1", "http://[::1]:65535/", "http://127.9.9.9",
            "https://localhost", "https://example.com/"],
)  # fmt: skip
def test_development_may_call_its_own_machine(url: str) -> None:
    assert check_url(url, allow_loopback=True) is None


@pytest.mark.parametrize(
    "url", ["http://example.com/", "http://10.0.0.1/", "http://[::ffff:127.0.0.1]/",
            "http://2130706433/", "http://localhost:0/", "http://localhost:65536/",
            "http://localhost:x/", "http://u:p@localhost/", "http://127.0.0.1.example/",
            "https://example.com:8443/", "https://169.254.169.254/"],
)  # fmt: skip
def test_development_may_call_nothing_else(url: str) -> None:
    assert check_url(url, allow_loopback=True) is not None


def test_only_development_connects_to_loopback() -> None:
    for address in ("127.0.0.1", "127.1.2.3", "::1"):
        assert may_connect(address, 8080, allow_loopback=True)
        assert not may_connect(address, 443)
    assert not may_connect("::ffff:127.0.0.1", 8080, allow_loopback=True)
    assert not may_connect("10.0.0.1", 443, allow_loopback=True)
