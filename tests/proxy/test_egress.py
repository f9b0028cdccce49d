"""The upstream client through proxies, with private authorities and client certificates, over real sockets."""

import socket
import ssl

import pytest

from dragoman.codecs import errors
from dragoman.conf.model import Certificates, ClientCert, Proxy
from dragoman.proxy.wire import connect, egress
from dragoman.proxy.wire.upstream import UpstreamRequest

from ..proxies import ESTABLISHED, HOST, Authority, basic, relay, tunnel
from ..scripted import Gate, Provider, close, reset, respond, send, sse, stream, until_closed, wait
from .loops import all_closed, closed_by, fault, looped

LOGIN = "user:pass word/é"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"), "first")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"), "second")


@pytest.fixture(scope="module")
def trust(authority):
    return egress.context(authority.trusted())


def at(proxy, login=None):
    return Proxy("127.0.0.1", proxy.port, login)


def asked(trust, proxy, login=None, **more):
    return UpstreamRequest(f"https://{HOST}/v1/x", "POST", {"x-api-key": "k"}, b"{}", ssl_context=trust, proxy=at(proxy, login), **more)


# ---- tunnels ----


@looped
@pytest.mark.parametrize("login", [None, LOGIN])
async def test_c38_an_https_upstream_through_a_tunnel(client, authority, trust, login):
    names = []
    authority.server.sni_callback = lambda sock, name, context: names.append(name)
    with Provider(stream(sse("a")), tls=authority.server) as upstream, Provider(tunnel(upstream.port, login)) as proxy:
        for _ in range(3):
            seen = []
            assert (await client.fetch(asked(trust, proxy, login, streaming_callback=seen.append))).code == 200
            assert b"".join(seen) == b"data: a\n\n"
    authority.server.sni_callback = None
    (connect_request,) = proxy.requests  # one tunnel, used again
    assert (connect_request.method, connect_request.target) == ("CONNECT", f"{HOST}:443")
    own = {} if login is None else {"proxy-authorization": basic(login)}
    assert connect_request.headers == {"host": f"{HOST}:443", "user-agent": "dragoman"} | own
    assert names == [HOST]
    assert [request.headers for request in upstream.requests] == [{"host": HOST, "x-api-key": "k", "content-length": "2"}] * 3


@looped
async def test_a_port_and_an_address_are_connected_to_as_they_are_written(client, trust):
    for url, target in ((f"https://{HOST}:8443/", f"{HOST}:8443"), ("https://[2001:db8::1]/", "[2001:db8::1]:443")):
        with Provider([b"HTTP/1.1 403 no\r\n\r\n", close]) as proxy, pytest.raises(errors.Refused):
            await client.fetch(UpstreamRequest(url, ssl_context=trust, proxy=at(proxy)))
        assert (proxy.requests[0].target, proxy.requests[0].headers["host"]) == (target, target)


@looped
@pytest.mark.parametrize("every", [1, 7])
async def test_c38_the_proxys_answer_in_small_pieces(client, authority, trust, every):
    with Provider([respond(b"x")], tls=authority.server) as upstream, Provider(tunnel(upstream.port, every=every)) as proxy:
        assert (await client.fetch(asked(trust, proxy))).body == b"x"


@looped
async def test_informational_answers_and_other_2xx(client, authority, trust):
    answers = iter(
        [b"HTTP/1.1 102 Processing\r\n\r\n" + ESTABLISHED, b"HTTP/1.0 204\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"]
    )
    with (
        Provider([respond(b"x", connection="close")], tls=authority.server) as upstream,
        Provider(lambda request: [next(answers), relay(upstream.port)]) as proxy,
    ):
        for _ in range(3):
            assert (await client.fetch(asked(trust, proxy))).body == b"x"


@looped
async def test_c38_an_answer_that_is_cut_at_any_byte(client, trust):
    cuts = iter(range(len(ESTABLISHED)))
    with Provider(lambda request: [ESTABLISHED[: next(cuts)], close]) as proxy:
        for _ in range(len(ESTABLISHED)):
            refused = await fault(client, asked(trust, proxy))
            assert isinstance(refused, errors.Refused)
            assert refused.message == "The proxy did not open a tunnel to the upstream."
            assert refused.detail.startswith(f"{HOST}:443 via 127.0.0.1:{proxy.port}: ")
            assert not refused.sent
        await all_closed(proxy)


SAYS_NO = "The proxy refused to connect to the upstream."
MALFORMED = "The proxy's answer is malformed."
REFUSALS = [
    (b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno!", errors.Refused, SAYS_NO, "proxy: 403 Forbidden"),
    (b"HTTP/1.1 502 Bad Gateway\r\n\r\n<html>", errors.Refused, SAYS_NO, "proxy: 502 Bad Gateway"),
    (b"HTTP/1.1 302 Found\r\nLocation: http://login.test/\r\n\r\n", errors.Refused, SAYS_NO, "proxy: 302 Found"),
    (b"HTTP/1.0 503\r\n\r\n", errors.Refused, SAYS_NO, "proxy: 503 Service Unavailable"),
    (b"HTTP/1.1 403 " + b"x" * 9000 + b"\x1b[31m\r\n\r\n", errors.Refused, SAYS_NO, "proxy: 403 Forbidden"),
    (
        b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Negotiate\r\n\r\n",
        errors.Refused,
        "The proxy requires credentials, or rejected the configured ones.",
        "proxy: 407 Proxy Authentication Required: the proxy wants a login",
    ),
    (ESTABLISHED + b"x", errors.Garbled, MALFORMED, "bytes before the TLS handshake"),
    (b"HTTP/1.1 200 OK\r\nA: " + b"a" * connect.MAX_PROXY_HEAD, errors.Garbled, MALFORMED, "response head too large"),
    (b"SSH-2.0-OpenSSH_9.6\r\n", errors.Garbled, MALFORMED, "no HTTP/1 status line"),
    (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", errors.Garbled, MALFORMED, "101, or too many informational responses"),
    (b"HTTP/1.1 200 OK\r\nno header\r\n\r\n", errors.Garbled, MALFORMED, "malformed header line"),
]


@looped
@pytest.mark.parametrize("every", [1, 1 << 16])
@pytest.mark.parametrize(("answer", "kind", "message", "detail"), REFUSALS)
async def test_c38_a_proxy_that_does_not_open_the_tunnel(client, trust, answer, kind, message, detail, every):
    if every == 1 and answer.startswith(ESTABLISHED):  # the byte behind it may come when the handshake has begun
        kind, message = errors.UpstreamFault, None
    with Provider([send(answer, every), until_closed]) as proxy:
        refused = await fault(client, asked(trust, proxy, LOGIN))
        await all_closed(proxy)
    assert not refused.sent
    assert f" via 127.0.0.1:{proxy.port}: " in refused.detail
    assert "pass" not in refused.detail
    assert isinstance(refused, kind)
    if message:
        assert (refused.message, refused.detail) == (message, f"{HOST}:443 via 127.0.0.1:{proxy.port}: {detail}")


@looped
@pytest.mark.parametrize(
    ("sent", "named", "doing"),
    [
        (b"", "proxy", "waiting for its answer to CONNECT"),
        (ESTABLISHED[:20], "proxy", "waiting for its answer to CONNECT"),
        (ESTABLISHED, "upstream", "in the TLS handshake"),
    ],
)
async def test_a_proxy_that_hangs(client, trust, sent, named, doing):
    with Provider([sent, until_closed] if sent else [until_closed]) as proxy:
        late = await fault(client, asked(trust, proxy, connect_timeout=0.2))
        await all_closed(proxy)
    assert isinstance(late, errors.Timeout)
    assert late.timer == "connect"
    assert late.message == f"The {named} could not be reached in time (connect)."
    assert late.detail == f"{HOST}:443 via 127.0.0.1:{proxy.port}: {doing}"


@looped
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_not_there(client, trust, scheme):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    refused = await fault(client, UpstreamRequest(f"{scheme}://{HOST}/", ssl_context=trust, proxy=Proxy("127.0.0.1", port)))
    assert isinstance(refused, errors.Refused)
    assert refused.message == "The proxy could not be reached."
    assert f" via 127.0.0.1:{port}: " in refused.detail
    unknown = await fault(client, UpstreamRequest(f"{scheme}://{HOST}/", ssl_context=trust, proxy=Proxy("a..b", 1)))
    assert unknown.message == "The proxy could not be reached."


@looped
@pytest.mark.parametrize("end", [close, reset])
async def test_a_proxy_that_closes_at_once(client, trust, end):
    with Provider([], on_connect=[end]) as proxy:
        refused = await fault(client, asked(trust, proxy))
    assert isinstance(refused, errors.Refused)
    assert "proxy" in refused.message


@looped
async def test_an_upstream_that_is_not_who_it_says_behind_a_proxy(client, authority, other):
    with Provider([respond()], tls=authority.server) as upstream, Provider(tunnel(upstream.port)) as proxy:
        refused = await fault(client, asked(egress.context(other.trusted()), proxy))
        assert refused.message == "The TLS handshake with the upstream failed."
        assert "certificate verify failed" in refused.detail.lower()
        request = UpstreamRequest("https://elsewhere.test/", ssl_context=egress.context(authority.trusted()), proxy=at(proxy))
        refused = await fault(client, request)
        assert "elsewhere.test" in refused.detail
        assert "mismatch" in refused.detail


@looped
async def test_a_call_that_is_cancelled_while_the_proxy_thinks(client, trust):
    with Provider([until_closed]) as proxy:
        call = client.fetch(asked(trust, proxy))
        await proxy.seen(lambda: proxy.requests)
        call.cancel()
        await all_closed(proxy)


# ---- the absolute form ----


@looped
@pytest.mark.parametrize("login", [None, LOGIN])
async def test_c38_an_http_upstream_through_a_proxy(client, login):
    with Provider([respond(b"x")]) as proxy:
        for _ in range(2):
            headers = {"Proxy-Authorization": "Basic b3RoZXI=", "x-api-key": "k"}
            request = UpstreamRequest(f"http://{HOST}:8080/v1/x?a=b", "POST", headers, b"{}", proxy=at(proxy, login))
            assert (await client.fetch(request)).body == b"x"
    assert len(proxy.connections) == 1
    for seen in proxy.requests:
        assert (seen.method, seen.target) == ("POST", f"http://{HOST}:8080/v1/x?a=b")
        own = {} if login is None else {"proxy-authorization": basic(login)}
        assert seen.headers == {"host": f"{HOST}:8080", "x-api-key": "k", "content-length": "2"} | own


@looped
async def test_a_proxy_that_wants_a_login_of_an_http_request(client):
    with Provider([respond(b"who?", status=407, proxy_authenticate="Basic")]) as proxy:
        refused = await fault(client, UpstreamRequest(f"http://{HOST}/", proxy=at(proxy)))
        assert isinstance(refused, errors.Refused)
        assert refused.message == "The proxy requires credentials, or rejected the configured ones."
        assert refused.detail == f"{HOST}:80 via 127.0.0.1:{proxy.port}: proxy: 407 Proxy Authentication Required: the proxy wants a login"
        await all_closed(proxy)


@looped
@pytest.mark.parametrize("end", [close, reset])
async def test_an_answer_that_does_not_come_through_a_proxy(client, end):
    for steps, kind in (([end], errors.Refused), ([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", end], errors.Truncated)):
        with Provider(steps) as proxy:
            broken = await fault(client, UpstreamRequest(f"http://{HOST}/", proxy=at(proxy, LOGIN)))
        assert isinstance(broken, kind)
        assert broken.detail.startswith(f"{HOST}:80 via 127.0.0.1:{proxy.port}")
        assert "pass" not in broken.detail


@looped
async def test_an_upstreams_own_407_is_its_answer(client, authority, trust):
    with Provider([respond(b"x", status=407)], tls=authority.server) as upstream, Provider(tunnel(upstream.port)) as proxy:
        assert (await client.fetch(asked(trust, proxy))).code == 407
        assert (await client.fetch(UpstreamRequest(f"https://localhost:{upstream.port}/", ssl_context=trust))).code == 407


# ---- whose connection ----


@looped
async def test_c39_connections_are_not_shared_between_ways(client, authority, trust):
    """The same upstream through two proxies, with two logins, directly, and with another context: each has its own connection."""
    with (
        Provider([respond(b"x")], tls=authority.server) as upstream,
        Provider(tunnel(upstream.port)) as one,
        Provider(tunnel(upstream.port)) as two,
    ):
        url, again = f"https://localhost:{upstream.port}/", egress.context(authority.trusted())
        ways = [(trust, at(one)), (trust, at(two)), (trust, at(one, "a:b")), (trust, at(one, "c:d")), (trust, None), (again, None)]
        for _ in range(2):
            for context, proxy in ways:
                assert (await client.fetch(UpstreamRequest(url, ssl_context=context, proxy=proxy))).code == 200
        assert len(upstream.connections) == len(ways)
        assert (len(one.connections), len(two.connections)) == (3, 1)
        numbers = [request.connection for request in upstream.requests]
        assert sorted(numbers) == sorted(2 * list(range(len(ways))))


@looped
async def test_an_equal_proxy_of_a_later_configuration_shares_connections(client):
    with Provider([respond(b"x")]) as proxy:
        for _ in range(2):
            await client.fetch(UpstreamRequest(f"http://{HOST}/", proxy=at(proxy, LOGIN)))
    assert len(proxy.connections) == 1


@looped
async def test_c39_renewed_certificates_end_idle_tls_connections(client, authority, trust):
    gate = Gate()

    def script(request):
        return [wait(gate), respond(b"x")] if request.target == "/slow" else [respond(b"x")]

    with Provider(script, tls=authority.server) as upstream, Provider([respond(b"x")]) as plain:
        url = f"https://localhost:{upstream.port}"
        slow = client.fetch(UpstreamRequest(f"{url}/slow", ssl_context=trust))
        await upstream.seen(lambda: upstream.requests)
        await client.fetch(UpstreamRequest(url, ssl_context=trust))
        await client.fetch(UpstreamRequest(plain.url))
        client.renew()
        await upstream.seen(lambda: closed_by(upstream).count("peer") == 1)
        gate.open()
        assert (await slow).body == b"x"  # what is in use ends well, and is not kept
        await all_closed(upstream)
        await client.fetch(UpstreamRequest(url, ssl_context=trust))
        await client.fetch(UpstreamRequest(url, ssl_context=trust))
        await client.fetch(UpstreamRequest(plain.url))
        assert (len(upstream.connections), len(plain.connections)) == (3, 1)


# ---- certificates ----


@looped
async def test_c39_private_authorities(client, authority, other, monkeypatch):
    with Provider([respond(b"x")], tls=authority.server) as upstream:
        url = f"https://localhost:{upstream.port}/"
        for only in (True, False):
            assert (await client.fetch(UpstreamRequest(url, ssl_context=egress.context(authority.trusted(only=only))))).body == b"x"
            refused = await fault(client, UpstreamRequest(url, ssl_context=egress.context(other.trusted(only=only))))
            assert "certificate verify failed" in refused.detail.lower()
        assert "certificate verify failed" in (await fault(client, UpstreamRequest(url))).detail.lower()
        # `only` takes the place of the system's authorities, the other form stands beside them
        monkeypatch.setenv("SSL_CERT_FILE", authority.ca_file)
        assert (await client.fetch(UpstreamRequest(url, ssl_context=egress.context(other.trusted(only=False))))).body == b"x"
        await fault(client, UpstreamRequest(url, ssl_context=egress.context(other.trusted(only=True))))
        client.renew()  # the system's are read again, too
        assert (await client.fetch(UpstreamRequest(url))).body == b"x"


@looped
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_c39_client_certificates(client, authority, other, version):
    authority.demanding.maximum_version = version
    with Provider([respond(b"x")], tls=authority.demanding) as upstream, Provider(tunnel(upstream.port)) as proxy:
        url = f"https://{HOST}/"
        proves = egress.context(authority.trusted(proves=True))
        assert (await client.fetch(UpstreamRequest(url, ssl_context=proves, proxy=at(proxy)))).body == b"x"
        strange = egress.context(Certificates(authority.ca_file, True, ClientCert(*other.client)))
        for context, reason in ((egress.context(authority.trusted()), "alert"), (strange, "alert")):
            refused = await fault(client, UpstreamRequest(url, ssl_context=context, proxy=at(proxy)))
            assert isinstance(refused, errors.Refused)
            assert refused.message == "The TLS handshake with the upstream failed."
            assert reason in refused.detail.lower()
    assert len(upstream.requests) == 1


def test_a_key_with_a_password(authority):
    cert, _ = authority.client
    key = authority.locked("the password")
    assert egress.context(Certificates(None, False, ClientCert(cert, key, "the password")))
    for password in (None, "another"):
        with pytest.raises(ValueError, match=r"client_cert: .*client\.crt and .*locked\.key: ") as caught:
            egress.context(Certificates(None, False, ClientCert(cert, key, password)))
        assert "another" not in str(caught.value)


@pytest.mark.parametrize("only", [True, False])
def test_files_that_cannot_be_used_are_named(authority, other, tmp_path, only):
    empty, missing = tmp_path / "empty.pem", tmp_path / "missing.pem"
    empty.write_bytes(b"")
    cert, key = authority.client
    for certificates, message in (
        (Certificates(str(missing), only), f"ca_file: {missing}: No such file or directory"),
        (Certificates(str(empty), only), f"ca_file: {empty}: "),
        (Certificates(key, only), f"ca_file: {key}: "),
        (Certificates(str(tmp_path), only), f"ca_file: {tmp_path}: Is a directory"),
        (Certificates(None, False, ClientCert(str(missing), key)), f"client_cert.cert: {missing}: No such file"),
        (Certificates(None, False, ClientCert(cert, str(missing))), f"client_cert.key: {missing}: No such file"),
        (Certificates(None, False, ClientCert(cert, other.client[1])), f"client_cert: {cert} and {other.client[1]}: KEY_VALUES_MISMATCH"),
    ):
        with pytest.raises(ValueError) as caught:
            egress.context(certificates)
        assert str(caught.value).startswith(message)


def test_c39_verification_is_always_on(authority):
    for certificates in (Certificates(), authority.trusted(), authority.trusted(proves=True, only=False)):
        context = egress.context(certificates)
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
