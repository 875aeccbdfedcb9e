"""Which addresses a webhook may have: public ones, reached over https on the usual ports.

A clinic's administrator chooses the address, and the portal stands inside the clinic's network: without
these rules a webhook would be a way to send requests to machines that only the portal can reach.
"""

import ipaddress
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

PORTS = frozenset({443, 8443})
RESOLVE_SECONDS = 5.0
LONGEST_URL = 500
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
# 1, 0x7f, 0177: some resolvers read such a last label, and then the whole host, as an IPv4 address.
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.IGNORECASE)
_IPV6_UNICAST = ipaddress.ip_network("2000::/3")
# Reached or translated through these blocks of the public space, other addresses would be meant
# (RFC 3056, 4380, 3068), or nobody outside (RFC 6666, 9637, 6890).
_REFUSED_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in ("2001::/23", "2002::/16", "3fff::/20", "192.88.99.0/24", "192.0.0.0/24")
)


class AddressRefusedError(Exception):
    """The portal does not send to this address; ``code`` says why."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to send a message.

    Attributes:
        is_encrypted: Whether the scheme is https.
        host: Name or address without brackets, lower case.
        port: TCP port.
        path: Path and query.
    """

    is_encrypted: bool
    host: str
    port: int
    path: str


def parse(url: str) -> Target:
    """Read the address of a webhook; asks no resolver.

    Raises:
        AddressRefusedError: ``url_invalid``, ``url_scheme``, ``url_userinfo``, ``url_fragment``, ``url_port``,
            ``url_host``, ``address_refused``.
    """
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or any(c in url for c in ' \\"<>^`{|}'):
        raise AddressRefusedError("url_invalid")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise AddressRefusedError("url_invalid") from error
    allowed = {"https", "http"} if settings.WEBHOOK_ALLOW_LOOPBACK else {"https"}
    if parts.scheme not in allowed:
        raise AddressRefusedError("url_scheme")
    if "@" in parts.netloc:
        raise AddressRefusedError("url_userinfo")
    if "#" in url:
        raise AddressRefusedError("url_fragment")
    is_encrypted = parts.scheme == "https"
    target = Target(
        is_encrypted=is_encrypted,
        host=_checked_host(parts.hostname or ""),
        port=(443 if is_encrypted else 80) if port is None else port,
        path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
    )
    _check_without_resolver(target)
    return target


def _checked_host(host: str) -> str:
    if ":" in host:
        _address(host)
        return host
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        _address(host)
        return host
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressRefusedError("url_host")
    return host.lower()


def _address(text: str) -> IPAddress:
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise AddressRefusedError("url_host") from error


def _check_without_resolver(target: Target) -> None:
    try:
        address = ipaddress.ip_address(target.host)
    except ValueError:
        is_loopback = target.host == "localhost"
        if "." not in target.host and not (is_loopback and settings.WEBHOOK_ALLOW_LOOPBACK):
            raise AddressRefusedError("url_host") from None
        _check_port(target, is_loopback=is_loopback)
    else:
        check(target, address)


def check(target: Target, address: IPAddress) -> None:
    """Let pass an address that a message to this target may go to.

    Raises:
        AddressRefusedError: ``address_refused``, ``url_scheme`` or ``url_port``.
    """
    is_loopback = settings.WEBHOOK_ALLOW_LOOPBACK and _is_plain_loopback(address)
    if not is_loopback and not is_public(address):
        raise AddressRefusedError("address_refused")
    _check_port(target, is_loopback=is_loopback)


def _check_port(target: Target, *, is_loopback: bool) -> None:
    if not is_loopback and not target.is_encrypted:
        raise AddressRefusedError("url_scheme")
    if target.port not in PORTS and not (is_loopback and target.port > 1024):
        raise AddressRefusedError("url_port")


def _is_plain_loopback(address: IPAddress) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or address.ipv4_mapped):
        return False
    return address.is_loopback


def is_public(address: IPAddress) -> bool:
    """Whether an address is one of the public internet, and plainly so.

    Not: private, loopback, link-local, multicast, reserved, unspecified, shared (100.64/10), and every
    IPv6 form that stands for an IPv4 address (mapped, compatible, 6to4, Teredo, NAT64).
    """
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or address not in _IPV6_UNICAST):
        return False
    if any(address in network for network in _REFUSED_NETWORKS if network.version == address.version):
        return False
    return address.is_global and not (
        address.is_private or address.is_multicast or address.is_reserved or address.is_unspecified
    )


def resolve(target: Target) -> str:
    """Ask the resolver once, check every address it gives, and return the first.

    Raises:
        AddressRefusedError: One of the addresses is not allowed: then none is used.
        OSError: There is no such name, or no answer in time.
    """
    addresses = _resolved(target.host, target.port)
    for address in addresses:
        check(target, _address(address))
    return addresses[0]


def _resolved(host: str, port: int) -> list[str]:
    answers: list[str] = []

    def ask() -> None:
        answers.extend(str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))

    _within(RESOLVE_SECONDS, ask)
    if not answers:
        raise socket.gaierror(socket.EAI_NONAME, "no address")
    return answers


def _within(seconds: float, work: Callable[[], None]) -> None:
    """Run a call that knows no time-out.

    Raises:
        OSError: As the call did, or ``TimeoutError``.
    """
    errors: list[OSError] = []

    def run() -> None:
        try:
            work()
        except OSError as error:
            errors.append(error)
        except UnicodeError:
            # The codec of host names, for names that it cannot encode.
            errors.append(socket.gaierror(socket.EAI_NONAME, "not a host name"))

    thread = threading.Thread(target=run, name="resolver", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError("the resolver did not answer")
    if errors:
        raise errors[0]
