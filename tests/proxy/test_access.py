"""Who may ask for what."""

import hashlib

import pytest

from dragoman.codecs import errors
from dragoman.conf.model import AccessKey, Budget
from dragoman.proxy.keys.access import Access
from dragoman.proxy.keys.identity import ANYONE, Identity, of_key
from dragoman.proxy.wire.networks import Networks


def key(secret, name, *models):
    return AccessKey(hashlib.sha256(secret.encode()).hexdigest(), name, models or ("*",))


ACCESS = Access((key("one", "a", "gpt-*", "demo/echo"), key("two", "b")))


def test_without_keys_every_caller_is_let_in():
    gateway = Access(())
    assert gateway.admit(None) == gateway.admit("anything") == ANYONE
    assert gateway.knows(None)
    assert ANYONE.name == ""
    assert ANYONE.allows("any/model")


def test_a_caller_is_its_key():
    assert (ACCESS.admit("one").name, ACCESS.admit("two").name) == ("a", "b")
    assert ACCESS.knows("one")


@pytest.mark.parametrize("credential", [None, "", "One", "one ", "three", "a", hashlib.sha256(b"one").hexdigest(), "\udcff", "ü"])
def test_strangers(credential):
    assert not ACCESS.knows(credential)
    with pytest.raises(errors.Unauthorized) as caught:
        ACCESS.admit(credential)
    assert (caught.value.http_status("chat"), caught.value.should_retry) == (401, False)
    assert not credential or credential not in caught.value.message or credential == "a"


@pytest.mark.parametrize(
    ("secret", "model", "allowed"),
    [
        ("one", "gpt-5-mini", True),
        ("one", "openai/gpt-5-mini", True),
        ("one", "demo/echo", True),
        ("one", "demo/think", False),
        ("one", "o3", False),
        ("two", "o3", True),
    ],
)
def test_models(secret, model, allowed):
    identity = ACCESS.admit(secret)
    assert identity.allows(model) == allowed
    if allowed:
        identity.check_model(model)
    else:
        with pytest.raises(errors.Forbidden):
            identity.check_model(model)


def test_two_keys_never_have_one_name():
    with pytest.raises(ValueError, match="same name"):
        Access((key("one", "a", "gpt-*"), key("two", "a")))


@pytest.mark.parametrize(("models", "restricted"), [(("*",), False), (("gpt-*", "*"), False), (("gpt-*",), True), ((), True)])
def test_which_keys_are_restricted(models, restricted):
    assert of_key(AccessKey("0" * 64, "a", models)).restricted == restricted
    assert not ANYONE.restricted


@pytest.mark.parametrize(("budget", "wants"), [(None, False), (Budget(1.0), False), (Budget(1.0, unpriced="refuse"), True)])
def test_which_budgets_want_prices(budget, wants):
    assert of_key(AccessKey("0" * 64, "a", budget=budget)).wants_prices == wants
    assert not ANYONE.wants_prices


class Elsewhere:
    """A source of one identity."""

    located = True

    def __init__(self, identity):
        self.identity = identity

    def find(self, credential, digest):
        assert digest == hashlib.sha256(credential.encode()).hexdigest()
        if credential == "bad":
            raise errors.Unauthorized("invalid_token")
        return self.identity if credential == "theirs" else None

    def named(self, identity, user):
        return identity


def test_other_sources_are_asked_behind_the_file():
    access = Access((key("one", "a"),), [Elsewhere(Identity("b", allow_from=Networks(), expires_at=None))])
    assert (access.admit("one").name, access.admit("theirs").name, access.located) == ("a", "b", True)
    for wrong in ("bad", "neither"):
        assert not access.knows(wrong)
        with pytest.raises(errors.Unauthorized):
            access.admit(wrong)


def test_without_keys_in_the_file_a_source_closes_the_gateway():
    access = Access((), [Elsewhere(Identity("b", expires_at=1.0))])
    assert not access.open
    with pytest.raises(errors.Unauthorized, match="No API key"):
        access.admit(None)
    with pytest.raises(errors.Unauthorized, match="has expired"):
        access.admit("theirs")


class Counted(str):
    """A credential that counts how often it is hashed."""

    hashed = 0

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        self.hashed += 1
        return super().encode(encoding, errors)


def test_a_request_hashes_its_credential_once():
    access = Access((key("one", "a"), key("two", "b")))
    one, two, wrong = Counted("one"), Counted("two"), Counted("wrong")
    assert access.knows(one)
    assert access.admit(one).name == "a"
    assert access.knows(two)
    assert access.admit(two).name == "b"
    assert not access.knows(wrong)
    assert access.admit(one).name == "a"
    assert (one.hashed, two.hashed, wrong.hashed) == (2, 1, 1)
