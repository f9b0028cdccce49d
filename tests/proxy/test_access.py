"""Who may ask for what."""

import hashlib

import pytest

from dragoman.codecs import errors
from dragoman.conf.model import AccessKey, Budget
from dragoman.proxy.keys.access import Access


def key(secret, name, *models):
    return AccessKey(hashlib.sha256(secret.encode()).hexdigest(), name, models or ("*",))


ACCESS = Access((key("one", "a", "gpt-*", "demo/echo"), key("two", "b")))


def test_without_keys_every_caller_is_let_in():
    gateway = Access(())
    assert gateway.admit(None) == gateway.admit("anything") == ""
    assert gateway.knows(None)
    assert gateway.allows("", "any/model")


def test_a_caller_is_its_key():
    assert (ACCESS.admit("one"), ACCESS.admit("two")) == ("a", "b")
    assert ACCESS.knows("one")


@pytest.mark.parametrize("credential", [None, "", "One", "one ", "three", "a", hashlib.sha256(b"one").hexdigest(), "\udcff", "ü"])
def test_strangers(credential):
    assert not ACCESS.knows(credential)
    with pytest.raises(errors.Unauthorized) as caught:
        ACCESS.admit(credential)
    assert (caught.value.http_status("chat"), caught.value.should_retry) == (401, False)
    assert not credential or credential not in caught.value.message or credential == "a"


@pytest.mark.parametrize(
    ("name", "model", "allowed"),
    [
        ("a", "gpt-5-mini", True),
        ("a", "openai/gpt-5-mini", True),
        ("a", "demo/echo", True),
        ("a", "demo/think", False),
        ("a", "o3", False),
        ("b", "o3", True),
    ],
)
def test_models(name, model, allowed):
    assert ACCESS.allows(name, model) == allowed
    if allowed:
        ACCESS.check_model(name, model)
    else:
        with pytest.raises(errors.Forbidden):
            ACCESS.check_model(name, model)


def test_two_keys_never_have_one_name():
    with pytest.raises(ValueError, match="same name"):
        Access((key("one", "a", "gpt-*"), key("two", "a")))


@pytest.mark.parametrize(("models", "restricted"), [(("*",), False), (("gpt-*", "*"), False), (("gpt-*",), True), ((), True)])
def test_which_keys_are_restricted(models, restricted):
    access = Access((AccessKey("0" * 64, "a", models),))
    assert access.restricted("a") == restricted
    assert not access.restricted("")


@pytest.mark.parametrize(("budget", "wants"), [(None, False), (Budget(1.0), False), (Budget(1.0, unpriced="refuse"), True)])
def test_which_budgets_want_prices(budget, wants):
    access = Access((AccessKey("0" * 64, "a", budget=budget),))
    assert access.wants_prices("a") == wants
    assert not access.wants_prices("")
