"""One POST: pinned to the checked address, no redirects, no proxies, bounded in time."""

import socket
import ssl
import subprocess
import threading
import time

import pytest

from diagnosis.webhooks import transport
from tests.support import require

BODY = b'{"id":"x"}'
HEADERS = {"Content-Type": "application/json", "Webhook-Id": "x"}


def post(url):
    return transport.post(url, body=BODY, headers=HEADERS)


def lead_to(monkeypatch, *answers):
    """Make the resolver answer differently at each call."""
    asked = []

    def getaddrinfo(host, port, *_args, **_more):
        asked.append(host)
        address = answers[min(len(asked), len(answers)) - 1]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


class TestReceiver:
    """Against a real receiver."""

    def test_it_gets_body_headers_and_query(self, receiver):
        answer = post(receiver.url)

        ((path, headers, body),) = receiver.requests
        assert (answer.status_code, answer.error_code) == (204, "")
        assert (path, body) == ("/hooks?of=clinic", BODY)
        assert headers["Webhook-Id"] == "x"
        assert headers["Host"] == receiver.url.split("/")[2]

    @pytest.mark.parametrize(
        ("status", "error"),
        [(200, ""), (299, ""), (301, "redirect"), (400, "http_status"), (410, "gone"), (500, "http_status")],
    )
    def test_what_its_answer_means(self, receiver, status, error):
        receiver.status = status

        answer = post(receiver.url)

        assert (answer.status_code, answer.error_code) == (status, error)

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_a_redirect_is_not_followed(self, receiver, status):
        receiver.status = status
        receiver.answer_headers = {"Location": receiver.url.replace("hooks", "elsewhere")}

        assert post(receiver.url).error_code == "redirect"
        assert len(receiver.requests) == 1

    def test_a_proxy_of_the_environment_is_not_used(self, receiver, monkeypatch):
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")

        assert post(receiver.url).error_code == ""

    def test_a_large_answer_is_not_read(self, receiver):
        receiver.status, receiver.body = 200, b"x" * 5_000_000

        answer = post(receiver.url)

        assert answer.error_code == ""

    def test_an_answer_byte_by_byte_is_ended_in_time(self, receiver, monkeypatch):
        monkeypatch.setattr(transport, "TOTAL_SECONDS", 0.5)
        receiver.drip_seconds = 8
        started = time.monotonic()

        answer = post(receiver.url)

        assert (answer.status_code, answer.error_code) == (None, "timeout")
        assert time.monotonic() - started < 3

    def test_silence_is_ended_in_time(self, settings, monkeypatch):
        settings.WEBHOOK_ALLOW_LOOPBACK = True
        monkeypatch.setattr(transport, "TOTAL_SECONDS", 0.3)
        with socket.create_server(("127.0.0.1", 0)) as server:
            answer = post(f"http://127.0.0.1:{server.getsockname()[1]}/")

        assert (answer.error_code, answer.duration_ms < 3000) == ("timeout", True)

    def test_nobody_there_and_no_http(self, settings):
        settings.WEBHOOK_ALLOW_LOOPBACK = True
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]

            def talk():
                connection, _address = server.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

            threading.Thread(target=talk, daemon=True).start()
            assert post(f"http://127.0.0.1:{port}/").error_code == "protocol"
        assert post(f"http://127.0.0.1:{port}/").error_code == "connection"

    @pytest.mark.parametrize(
        ("status", "asked", "waits"),
        [(503, "120", 120), (429, "99999", 3600), (500, "120", 0), (503, "soon", 0), (503, "-1", 0)],
    )
    def test_retry_after_is_heard_within_reason(self, receiver, status, asked, waits):
        receiver.status, receiver.answer_headers = status, {"Retry-After": asked}

        assert post(receiver.url).retry_after == waits


class TestPinning:
    """The address that was checked is the one that is connected to."""

    @pytest.fixture
    def connected(self, monkeypatch):
        addresses = []

        def create_connection(address, *_args, **_more):
            addresses.append(address)
            raise ConnectionRefusedError

        monkeypatch.setattr(socket, "create_connection", create_connection)
        return addresses

    def test_a_resolver_that_changes_its_mind_is_asked_once(self, connected, monkeypatch):
        asked = lead_to(monkeypatch, "93.184.216.34", "127.0.0.1")

        answer = post("https://ehr.example.org/")

        assert answer.error_code == "connection"
        assert asked == ["ehr.example.org"]
        assert connected == [("93.184.216.34", 443)]

    def test_a_name_that_leads_inside_later_is_refused_then(self, connected, monkeypatch):
        lead_to(monkeypatch, "93.184.216.34", "169.254.169.254")

        codes = [post("https://ehr.example.org/").error_code for _ in range(2)]

        assert codes == ["connection", "address_refused"]
        assert connected == [("93.184.216.34", 443)]

    def test_a_stored_address_is_checked_again(self, connected):
        assert post("http://127.0.0.1:9000/").error_code == "url_scheme"
        assert post("https://10.0.0.1/").error_code == "address_refused"
        assert connected == []

    def test_an_unknown_name_is_said(self, monkeypatch):
        def unknown(*_args, **_more):
            raise socket.gaierror(socket.EAI_NONAME, "unknown")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)

        assert post("https://ehr.example.org/").error_code == "dns"


class TestCertificate:
    """Over https the certificate must be the name's."""

    @pytest.fixture
    def certificate(self, tmp_path):
        folder = tmp_path
        made = subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-days", "2", "-subj", "/CN=ehr.example.org", "-addext", "subjectAltName=DNS:ehr.example.org"),
                *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
            ],
            capture_output=True,
            check=False,
        )
        require(made.returncode == 0, "openssl is absent")
        return folder

    @pytest.fixture
    def tls_receiver(self, certificate, settings, monkeypatch):
        """Serve https for ehr.example.org on loopback, and return its port and the names asked for (SNI)."""
        settings.WEBHOOK_ALLOW_LOOPBACK = True
        asked = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
        context.sni_callback = lambda _socket, name, _context: asked.append(name)
        server = socket.create_server(("127.0.0.1", 0))

        def serve():
            while True:
                try:
                    plain, _address = server.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(plain, server_side=True) as connection:
                        # All of it: closing with unread bytes resets the connection under the answer.
                        received = b""
                        while not received.endswith(BODY) and (more := connection.recv(65536)):
                            received += more
                        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                except OSError:
                    continue

        threading.Thread(target=serve, daemon=True).start()
        lead_to(monkeypatch, "127.0.0.1")
        # The guard lets names use port 443 only before it knows that they lead to loopback.
        monkeypatch.setattr("diagnosis.webhooks.addresses.PORTS", {server.getsockname()[1]})
        yield server.getsockname()[1], asked
        server.close()

    def test_a_good_one_passes_and_the_name_is_sent(self, tls_receiver, certificate, monkeypatch):
        port, asked = tls_receiver
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))

        answer = post(f"https://ehr.example.org:{port}/")

        assert (answer.status_code, answer.error_code) == (200, "")
        assert asked == ["ehr.example.org"]

    def test_one_of_another_name_is_refused(self, tls_receiver, certificate, monkeypatch):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))

        assert post(f"https://other.example.org:{tls_receiver[0]}/").error_code == "tls"

    def test_one_that_nobody_vouches_for_is_refused(self, tls_receiver):
        assert post(f"https://ehr.example.org:{tls_receiver[0]}/").error_code == "tls"
