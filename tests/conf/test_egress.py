"""Which proxy and which certificates each entry gets, and every mistake that can be made in saying so."""

import pytest

from dragoman import conf
from dragoman.conf.model import Certificates, ClientCert, Proxy

PROXY = Proxy("proxy.corp", 3128)
ENVIRON = {"HTTPS_PROXY": "http://proxy.corp:3128"}


def loads(text, environ):
    return conf.loads(text, "c.yaml", environ)


def entry(base_url, environ, egress="{}", more=""):
    text = f"model_providers: [{{model: my/m, base_url: '{base_url}'{more}}}]\negress: {egress}\n"
    return loads(text, environ).model_providers[0]


def problems(text, environ=None):
    with pytest.raises(conf.ConfigError) as caught:
        loads(text, environ or {})
    return str(caught.value).splitlines()


# ---- which proxy ----

ONE, TWO, THREE = (Proxy(name, 80) for name in ("one", "two", "three"))


@pytest.mark.parametrize(
    ("scheme", "environ", "egress", "more", "expected"),
    [
        ("https", {}, "{}", "", None),
        ("https", {"HTTPS_PROXY": "http://one"}, "{}", "", ONE),
        ("https", {"https_proxy": "http://one"}, "{}", "", ONE),
        ("https", {"HTTPS_PROXY": "one:80"}, "{}", "", ONE),
        ("https", {"HTTPS_PROXY": "http://one", "https_proxy": "http://two"}, "{}", "", ONE),
        ("https", {"HTTPS_PROXY": "", "https_proxy": "http://two"}, "{}", "", TWO),
        ("https", {"HTTP_PROXY": "http://one"}, "{}", "", None),
        ("http", {"HTTP_PROXY": "http://one", "HTTPS_PROXY": "http://two"}, "{}", "", ONE),
        ("http", {"http_proxy": "http://one"}, "{}", "", ONE),
        ("http", {"HTTPS_PROXY": "http://one"}, "{}", "", None),
        ("http", {"ALL_PROXY": "http://one"}, "{}", "", ONE),
        ("https", {"all_proxy": "http://one"}, "{}", "", ONE),
        ("https", {"ALL_PROXY": "http://one", "HTTPS_PROXY": "http://two"}, "{}", "", TWO),
        ("https", {"HTTPS_PROXY": "http://one"}, "{proxy: 'http://two'}", "", TWO),
        ("https", {"HTTPS_PROXY": "http://one"}, "{proxy: none}", "", None),
        ("https", {"HTTPS_PROXY": "http://one"}, "{proxy: env}", "", ONE),
        ("https", {"HTTPS_PROXY": "http://one"}, "{proxy: 'http://two'}", ", proxy: 'http://three'", THREE),
        ("https", {"HTTPS_PROXY": "http://one"}, "{proxy: 'http://two'}", ", proxy: none", None),
        ("https", {"HTTPS_PROXY": "http://one"}, "{proxy: 'http://two'}", ", proxy: env", TWO),
        ("https", {"HTTPS_PROXY": "socks5://one"}, "{}", ", proxy: none", None),
        ("https", {"THEIRS": "http://one"}, "{}", ", proxy: $THEIRS", ONE),
    ],
)
def test_the_first_that_is_said_counts(scheme, environ, egress, more, expected):
    assert entry(f"{scheme}://api.example/v1", environ, egress, more).proxy == expected


NO_PROXY = [
    # host in the URL, the list, whether it fits
    ("api.example", "", False),
    ("api.example", "*", True),
    ("api.example", "api.example", True),
    ("api.example", "API.Example", True),
    ("API.example.", "api.example", True),
    ("api.example", "example", True),
    ("api.example", ".example", True),
    ("api.example", "*.example", True),
    ("example", ".example", True),
    ("api.example", "pi.example", False),
    ("api.example", "ample", False),
    ("api.example", "api", False),
    ("api.example", "other, api.example ,more", True),
    ("api.example", "other api.example", True),
    ("api.example:8443", "api.example:8443", True),
    ("api.example:8443", "api.example:443", False),
    ("api.example", "api.example:443", True),
    ("api.example:8443", "api.example", True),
    ("10.1.2.3", "10.0.0.0/8", True),
    ("10.1.2.3", "10.1.2.3", True),
    ("10.1.2.3", "10.1.2.3/8", True),
    ("11.1.2.3", "10.0.0.0/8", False),
    ("10.1.2.3", "10.1.2.3:443", True),
    ("10.1.2.3", "10.1.2.3:80", False),
    ("10.api.example", "10.0.0.0/8", False),
    ("[2001:db8::1]", "2001:db8::/32", True),
    ("[2001:db8::1]", "2001:db8:0::1", True),
    ("[2001:db8::1]:8443", "[2001:db8::1]:8443", True),
    ("[2001:db8::1]", "[2001:db8::1]:8443", False),
    ("[::ffff:10.1.2.3]", "10.0.0.0/8", True),
    ("[2001:db8::1]", "10.0.0.0/8", False),
]
FOR_OTHER_PROGRAMS = [("api.example", "<local>;http://x/,[::1,a:b,10.0.0.0/99,a:99999999999", False)]


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize(("host", "listed", "fits"), NO_PROXY + FOR_OTHER_PROGRAMS)
def test_c38_no_proxy_of_the_environment(variable, host, listed, fits):
    assert entry(f"https://{host}/v1", ENVIRON | {variable: listed}).proxy == (None if fits else PROXY)


@pytest.mark.parametrize(("host", "listed", "fits"), NO_PROXY)
def test_c38_no_proxy_of_the_file(host, listed, fits):
    items = [one for one in listed.replace(",", " ").split(" ") if one]
    for environ, more in ((ENVIRON, ""), ({}, ", proxy: 'http://proxy.corp:3128'")):
        assert entry(f"https://{host}/v1", environ, f"{{no_proxy: {items}}}", more).proxy == (None if fits else PROXY)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.9.9.9", "127.1", "[::1]", "0.0.0.0", "[::ffff:127.0.0.1]"],
)
def test_c38_loopback_is_always_direct(host):
    for scheme in ("http", "https"):
        assert entry(f"{scheme}://{host}:8000/v1", {"ALL_PROXY": "http://one"}, "{proxy: 'http://two'}").proxy is None
        assert entry(f"{scheme}://{host}:8000/v1", {}, more=", proxy: 'http://two'").proxy is None


def test_names_that_only_look_like_loopback():
    for host in ("localhost.example", "notlocalhost", "127.0.0.1.example", "128.0.0.1"):
        assert entry(f"https://{host}/v1", ENVIRON).proxy == PROXY


METADATA = [
    "169.254.1.1",
    "169.254.169.254",
    "[fe80::1]",
    "[fd00:ec2::254]",
    "metadata.google.internal",
    "169.254.170.2",
    "0xA9FEA9FE",
    "[::ffff:169.254.1.1]",
]


@pytest.mark.parametrize("host", METADATA)
def test_c38_metadata_services_are_no_upstreams(host):
    url = f"http://{host}/v1"
    wrong = "is a link-local address or a metadata service: egress.allow_link_local permits it"
    text = f"model_providers: [{{model: my/m, base_url: '{url}'}}]\n"
    assert [line.partition("base_url: ")[2] for line in problems(text)] == [wrong]
    assert entry(url, {"HTTP_PROXY": "http://one"}, "{allow_link_local: true, proxy: 'http://two'}").proxy is None


def test_the_demo_leaves_by_no_way():
    config = loads("model_providers: [{model: demo/*, proxy: 'http://one', ca_file: /x}]", {"ALL_PROXY": "socks5://x"})
    assert config.model_providers[0].proxy is None
    places = {"proxy": 35, "ca_file": 56}
    why = "is not used: the demo models are built in"
    assert config.warnings == tuple(f"c.yaml:1:{column}: model_providers[0].{key}: {why}" for key, column in places.items())
    assert conf.zero({"ALL_PROXY": "socks5://x"}).model_providers[0].proxy is None


def test_what_is_written_and_not_used_is_told():
    text = """model_providers:
  - {model: my/a, base_url: "http://localhost:1/v1", proxy: "http://one", ca_file: /a}
  - {model: my/b, base_url: "https://b.example/v1", proxy: "http://one", ca_file: /a}
  - {model: my/c, base_url: "http://localhost:1/v1", proxy: "http://one", ca_file: /a, gcp: {project: p}}
  - {model: my/d, base_url: "http://localhost:1/v1", proxy: "http://one", aws: {region: us-east-1, access_key_id: a, secret_access_key: s}}
"""
    here = "proxy: is not used: loopback, link-local addresses and metadata services are always reached directly"
    found = loads(text, {"NO_PROXY": "b.example"})
    assert [entry.egress.proxies.https for entry in found.model_providers[2:]] == [Proxy("one", 80), None]
    assert found.warnings == (
        f"c.yaml:2:54: model_providers[0].{here}",
        "c.yaml:2:75: model_providers[0].ca_file: is not used: base_url is http",
        "c.yaml:3:53: model_providers[1].proxy: is not used: its host is in egress.no_proxy or NO_PROXY",
        f"c.yaml:5:54: model_providers[3].{here}",
    )


# ---- how a proxy is written ----


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("http://proxy", Proxy("proxy", 80)),
        ("http://proxy/", Proxy("proxy", 80)),
        ("http://PROXY:3128", Proxy("proxy", 3128)),
        ("http://[::1]:3128", Proxy("::1", 3128)),
        ("http://user:pass@proxy", Proxy("proxy", 80, "user:pass")),
        ("http://user@proxy", Proxy("proxy", 80, "user:")),
        ("http://dom%5Cuser:p%40ss%3A%2F%C3%A9@proxy", Proxy("proxy", 80, "dom\\user:p@ss:/é")),
    ],
)
def test_forms_of_a_proxy(written, expected):
    assert entry("https://api.example", {}, f"{{proxy: '{written}'}}").proxy == expected
    assert entry("https://api.example", {"HTTPS_PROXY": written}).proxy == expected
    assert entry("https://api.example", {"P": written}, more=", proxy: $P").proxy == expected


FORM = "must be http://host:port, or http://user:password@host:port with special characters as %XX"
COLON = "the proxy's user name must not contain a colon"


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("https://secret@proxy", "must begin with http://: https:// proxies are not supported"),
        ("socks5://secret@proxy", "must begin with http://: socks5:// proxies are not supported"),
        ("socks5h://proxy", "must begin with http://: socks5h:// proxies are not supported"),
        ("secret://proxy", FORM),
        ("http://", FORM),
        ("http://user:secret/x@proxy", FORM),
        ("http://user:secret#x@proxy", FORM),
        ("http://user:secret@proxy:port", FORM),
        ("http://user:secret@proxy:0", FORM),
        ("http://user:secret@proxy:99999", FORM),
        ("http://user:secret@proxy/path", FORM),
        ("http://user:se cret@proxy", FORM),
        ("http://user:sécret@proxy", FORM),
        ("http://us%3Aer:secret@proxy", COLON),
        ("http://[::1", FORM),
    ],
)
def test_mistakes_in_a_proxy(written, message):
    """No message repeats what is written: it may hold a password."""
    text = "model_providers: [{model: my/m, base_url: 'https://api.example', proxy: $P}]\negress: {proxy: $P}\n"
    assert problems(text, {"P": written}) == [
        f"c.yaml:1:73: model_providers[0].proxy: {message}",
        f"c.yaml:2:17: egress.proxy: {message}",
    ]
    text = "model_providers: [{model: my/m, base_url: 'https://api.example'}, {model: demo/*}]\n"
    assert problems(text, {"HTTPS_PROXY": written}) == [
        f"c.yaml:1:27: model_providers[0].model: the environment variable HTTPS_PROXY, by which it is reached: {message}"
    ]
    assert loads(text, {"HTTPS_PROXY": written, "NO_PROXY": "api.example"}).model_providers[0].proxy is None


def test_a_proxy_without_its_variable_is_an_error():
    text = "model_providers: [{model: openai/m, proxy: 'http://user:$PASSWORD@proxy'}]\n"
    assert problems(text) == ["c.yaml:1:44: model_providers[0].proxy: the environment variable PASSWORD is not set"]


@pytest.mark.parametrize("item", ["a b", "http://x", "a:b", "a:0", "a:99999", "10.0.0.0/99", "[::1", "[::1]x", "a..*", "", "a:1:2:3"])
def test_mistakes_in_no_proxy(item):
    (line,) = problems(f"model_providers: [{{model: demo/*}}]\negress: {{no_proxy: ['{item}']}}\n")
    expected = "must not be empty" if not item else "must be *, a name, an address, or a block such as 10.0.0.0/8"
    assert line == f"c.yaml:2:21: egress.no_proxy[0]: {expected}"


def test_c40_no_login_is_shown():
    shown = repr(
        entry("https://api.example", {}, "{proxy: 'http://user:hidden@proxy', client_cert: {cert: a, key: b, key_password: hidden}}")
    )
    assert "proxy" in shown
    assert "hidden" not in shown


# ---- certificates ----


@pytest.mark.parametrize(
    ("egress", "more", "expected"),
    [
        ("{}", "", Certificates()),
        ("{}", ", ca_file: /a.pem", Certificates("/a.pem")),
        ("{}", ", ca_file: /a.pem, ca_only: true", Certificates("/a.pem", True)),
        ("{ca_file: /b.pem}", "", Certificates("/b.pem")),
        ("{ca_file: /b.pem, ca_only: true}", ", ca_file: /a.pem", Certificates("/a.pem", True)),
        ("{ca_file: /b.pem, ca_only: true}", ", ca_only: false", Certificates("/b.pem")),
        ("{client_cert: {cert: c, key: k}}", "", Certificates(None, False, ClientCert("c", "k"))),
        (
            "{client_cert: {cert: c, key: k}, ca_file: /b.pem}",
            ", client_cert: {cert: d, key: l, key_password: $PW}",
            Certificates("/b.pem", False, ClientCert("d", "l", "open")),
        ),
    ],
)
def test_certificates(egress, more, expected):
    assert entry("https://api.example", {"PW": "open"}, egress, more).certificates == expected


def test_mistakes_in_certificates():
    needs = "needs a ca_file: no certificate would be accepted without one"
    assert problems("model_providers: [{model: openai/m, ca_only: true}]\n") == [f"c.yaml:1:46: model_providers[0].ca_only: {needs}"]
    text = "model_providers: [{model: openai/m}, {model: openai/n}]\negress: {ca_only: true}\n"
    assert problems(text) == [f"c.yaml:2:19: egress.ca_only: {needs}"]
    (line,) = problems("model_providers: [{model: openai/m, client_cert: {cert: a}}]\n")
    assert line.endswith("model_providers[0].client_cert.key: is missing")
    (line,) = problems("model_providers: [{model: demo/*}]\negress: {verify: false}\n")
    assert "egress.verify: unknown key" in line
