"""Which addresses the portal sends to."""

import ipaddress
import socket
import threading

import pytest

from diagnosis.webhooks import addresses
from diagnosis.webhooks.addresses import AddressRefusedError

PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946"]
INNER = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:8.8.8.8",
    "::8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::808:808",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
REFUSED = [
    ("http://ehr.example.org/", "url_scheme"),
    ("ftp://ehr.example.org/", "url_scheme"),
    ("file:///etc/passwd", "url_scheme"),
    ("gopher://ehr.example.org/", "url_scheme"),
    ("//ehr.example.org/", "url_scheme"),
    ("ehr.example.org", "url_scheme"),
    ("", "url_scheme"),
    ("https://user@ehr.example.org/", "url_userinfo"),
    ("https://user:word@ehr.example.org/", "url_userinfo"),
    ("https://@ehr.example.org/", "url_userinfo"),
    ("https://ehr.example.org@127.0.0.1/", "url_userinfo"),
    ("https://ehr.example.org/#part", "url_fragment"),
    ("https://ehr.example.org/#", "url_fragment"),
    ("https://ehr.example.org:80/", "url_port"),
    ("https://ehr.example.org:22/", "url_port"),
    ("https://ehr.example.org:0/", "url_port"),
    ("https://ehr.example.org:65536/", "url_invalid"),
    ("https://ehr.example.org:+443/", "url_invalid"),
    ("https://ehr.example.org\\@127.0.0.1/", "url_invalid"),
    ("https://ehr.example.org/a b", "url_invalid"),
    ("https://ehr.example.org/\r\nX-Injected: 1", "url_invalid"),
    ("https://ehr.example.org/\x00", "url_invalid"),
    ("https://éhr.example.org/", "url_invalid"),
    ("https://①②⑦.⓪.⓪.①/", "url_invalid"),
    ("https://[::1/", "url_invalid"),
    ("https://ehr.example.org/" + "a" * 500, "url_invalid"),
    ("https:///path", "url_host"),
    ("https://localhost/", "url_host"),
    ("https://intranet/", "url_host"),
    ("https://ehr.example.org./", "url_host"),
    ("https://ehr..example.org/", "url_host"),
    ("https://-ehr.example.org/", "url_host"),
    ("https://%31%32%37.0.0.1/", "url_host"),
    # Other spellings of 127.0.0.1, which a resolver may understand.
    ("https://2130706433/", "url_host"),
    ("https://0x7f000001/", "url_host"),
    ("https://017700000001/", "url_host"),
    ("https://0x7f.0.0.1/", "url_host"),
    ("https://0177.0.0.1/", "url_host"),
    ("https://127.0.0.01/", "url_host"),
    ("https://127.1/", "url_host"),
    ("https://127.0.1/", "url_host"),
    ("https://127.0.0.0x1/", "url_host"),
    ("https://1.2.3.4.5/", "url_host"),
    ("https://[::1%25lo]/", "address_refused"),
]


@pytest.fixture
def resolver(monkeypatch):
    """Answer with these addresses, call by call; the last list for ever after."""
    answers, asked = [], []

    def getaddrinfo(host, port, *_args, **_more):
        asked.append(host)
        addresses_of_call = answers[min(len(asked), len(answers)) - 1]
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses_of_call
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return answers, asked


@pytest.mark.parametrize("text", INNER)
def test_an_inner_address_is_not_public(text):
    assert not addresses.is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is(text):
    assert addresses.is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", INNER)
def test_an_inner_address_in_the_url_is_refused_at_once(text):
    host = f"[{text}]" if ":" in text else text

    with pytest.raises(AddressRefusedError, match="address_refused"):
        addresses.parse(f"https://{host}/")


@pytest.mark.parametrize(("url", "code"), REFUSED)
def test_other_urls_are_refused_by_name(url, code):
    with pytest.raises(AddressRefusedError) as refusal:
        addresses.parse(url)

    assert refusal.value.code == code


@pytest.mark.parametrize("url", [url for url, _code in REFUSED if "localhost" not in url])
def test_the_sandbox_lets_in_nothing_of_them_either(settings, url):
    settings.WEBHOOK_ALLOW_LOOPBACK = True

    with pytest.raises(AddressRefusedError):
        addresses.check(addresses.parse(url), ipaddress.ip_address("93.184.216.34"))


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("https://EHR.Example.org", "ehr.example.org", 443, "/"),
        ("https://ehr.example.org:8443/a/b?c=d%20e", "ehr.example.org", 8443, "/a/b?c=d%20e"),
        ("https://93.184.216.34/", "93.184.216.34", 443, "/"),
        ("https://[2606:2800:220:1:248:1893:25c8:1946]:443/x", "2606:2800:220:1:248:1893:25c8:1946", 443, "/x"),
        ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, "/"),
    ],
)
def test_public_urls_are_read(url, host, port, path):
    target = addresses.parse(url)

    assert (target.host, target.port, target.path, target.is_encrypted) == (host, port, path, True)


@pytest.mark.parametrize("text", INNER)
def test_a_name_that_leads_inside_is_refused(resolver, text):
    resolver[0].append([text])

    with pytest.raises(AddressRefusedError, match="address_refused"):
        addresses.resolve(addresses.parse("https://ehr.example.org/"))


def test_one_inner_address_among_public_ones_is_enough_to_refuse(resolver):
    resolver[0].append([PUBLIC[0], "10.0.0.1"])

    with pytest.raises(AddressRefusedError):
        addresses.resolve(addresses.parse("https://ehr.example.org/"))


def test_a_name_is_resolved_once_to_its_first_address(resolver):
    resolver[0].append(PUBLIC)

    assert addresses.resolve(addresses.parse("https://ehr.example.org/")) == PUBLIC[0]
    assert resolver[1] == ["ehr.example.org"]


def test_an_unknown_name_and_a_silent_resolver_are_faults(monkeypatch):
    def unknown(*_args, **_more):
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror):
        addresses.resolve(addresses.parse("https://ehr.example.org/"))

    released = threading.Event()
    monkeypatch.setattr(addresses, "RESOLVE_SECONDS", 0.05)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_more: released.wait(10) and [])
    with pytest.raises(TimeoutError):
        addresses.resolve(addresses.parse("https://ehr.example.org/"))
    released.set()


class TestLoopback:
    """The sandbox's exception."""

    @pytest.mark.parametrize("url", ["http://127.0.0.1:9000/", "http://[::1]:9000/", "https://127.0.0.1:9000/"])
    def test_only_with_the_setting(self, settings, url):
        with pytest.raises(AddressRefusedError):
            addresses.parse(url)

        settings.WEBHOOK_ALLOW_LOOPBACK = True
        assert addresses.parse(url).port == 9000

    @pytest.mark.parametrize(
        "url",
        [
            "http://127.0.0.1/",
            "http://127.0.0.1:80/",
            "http://127.0.0.1:1024/",
            "http://10.0.0.1:9000/",
            "http://93.184.216.34:9000/",
            "http://[::ffff:127.0.0.1]:9000/",
            "http://0.0.0.0:9000/",
            "http://ehr.example.org:9000/",
            "https://ehr.example.org:9000/",
        ],
    )
    def test_not_beyond_it(self, settings, url):
        settings.WEBHOOK_ALLOW_LOOPBACK = True

        with pytest.raises(AddressRefusedError):
            addresses.parse(url)

    def test_a_name_that_says_localhost_must_lead_there(self, settings, resolver):
        settings.WEBHOOK_ALLOW_LOOPBACK = True
        target = addresses.parse("http://localhost:9000/")
        resolver[0].append(["10.0.0.1"])

        with pytest.raises(AddressRefusedError):
            addresses.resolve(target)
