"""Which models a body asks for besides its `model`: every place of the table, and what two readers would see differently."""

from __future__ import annotations

import pytest

from dragoman.codecs import errors, model_names, splice
from dragoman.codecs.model_names import Named

# body, and the models that it asks for in any order
ASKED: list[tuple[bytes, list[Named]]] = [
    (b'{"model":"m"}', []),
    (b'{"model":"m","models":["a","b"]}', [Named("a", "models[0]"), Named("b", "models[1]")]),
    (b'{"model":"m","models":"a"}', [Named("a", "models")]),
    (b'{"model":"m","models":[]}', []),
    (b'{"model":"m","models":null}', []),
    (b'{"model":"m","models":["a"],"route":"fallback"}', [Named("a", "models[0]")]),
    (b'{"model":"m","route":"fallback"}', [Named("fallback", "route")]),
    (b'{"model":"m","preset":"mine"}', [Named("mine", "preset")]),
    (b'{"model":"m","fallbacks":"default"}', [Named("default", "fallbacks")]),
    (b'{"model":"m","fallbacks":[{"model":"a","max_tokens":5,"thinking":{"type":"enabled"}},"b"]}',
     [Named("a", "fallbacks[0].model"), Named("b", "fallbacks[1]")]),
    (b'{"model":"m","fallback_models":["a"]}', [Named("a", "fallback_models[0]")]),
    (b'{"model":"m","moderation":{"model":"a","policy":{"input":"model"}}}', [Named("a", "moderation.model")]),
    (b'{"model":"m","svg":{"model":"a"}}', [Named("a", "svg.model")]),
    (b'{"model":"m","plugins":[{"id":"fusion","model":"a","analysis_models":["b"]},{"id":"web"}]}',
     [Named("a", "plugins[0].model"), Named("b", "plugins[0].analysis_models[0]")]),
    (b'{"model":"m","tools":[{"type":"advisor_20260301","name":"advisor","model":"a"}]}', [Named("a", "tools[0].model")]),
    (b'{"model":"m","tools":[{"type":"image_generation","model":"a","svg":{"model":"b"}}]}',
     [Named("a", "tools[0].model"), Named("b", "tools[0].svg.model")]),
    (b'{"model":"m","tools":[{"type":"openrouter:image_generation","parameters":{"model":"a"}}]}',
     [Named("a", "tools[0].parameters.model")]),
    # a list in a list is one list
    (b'{"model":"m","models":[["a"],[["b"]]]}', [Named("a", "models[0][0]"), Named("b", "models[1][0][0]")]),
    # what asks for nothing: texts, schemas, calls, members elsewhere
    (rb'{"model":"m","messages":[{"content":"{\"models\":[\"a\"],\"model\":\"b\"}"}]}', []),
    (b'{"model":"m","metadata":{"model":"a","models":["b"]},"input":[{"type":"image_generation_call","model":"a"}]}', []),
    (b'{"model":"m","tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":'
     b'{"model":{"type":"string","enum":["a"]},"tools":{"type":"array"}}}}}]}', []),
    (b'{"model":"m","tools":[{"name":"Task","input_schema":{"properties":{"model":{"type":"string"}},"required":["model"]}}]}', []),
    (b'{"model":"m","tools":[{"type":"function","name":"f","parameters":{"properties":{"model":{}},"model":{"type":"string"}}}]}', []),
    (b'{"model":"m","tools":[],"messages":[{"content":[{"type":"tool_use","input":{"model":"a","tools":["b"]}}]}]}', []),
]  # fmt: skip

# body, and the member that the refusal is about
REFUSED: list[tuple[bytes, str]] = [
    (b'{"model":"m","Models":["a"]}', "models"),
    (b'{"model":"m","models":["a"],"MODELS":["b"]}', "models"),
    ('{"model":"m","tool\u017f":[{"model":"a"}]}'.encode(), "tools"),
    ('{"model":"m","fallbac\u212as":["a"]}'.encode(), "fallbacks"),
    (rb'{"model":"m","model\u017f":["a"]}', "models"),
    (b'{"model":"m","tools":[{"Model":"a"}]}', "tools[0]"),
    (b'{"model":"m","fallbacks":[{"model":"a","MODEL":"b"}]}', "fallbacks[0]"),
    (b'{"model":"m","models":["a"],"models":["b"]}', "models"),
    (rb'{"model":"m","models":["a"],"model\u0073":["b"]}', "models"),
    (b'{"model":"m","tools":[{"model":"a"}],"tools":[]}', "model"),
    (b'{"model":"m","tools":[],"tools":[{"model":"a"}]}', "tools"),
    (b'{"model":"m","tools":[{"model":"a","model":"b"}]}', "model"),
    (rb'{"model":"m","tools":[{"model":"a","mode\u006c":"b"}]}', "model"),
    (b'{"model":"m","tools":[{"svg":{"model":"a"},"svg":{}}]}', "model"),
    (b'{"model":"m","tools":[{"parameters":{},"parameters":{"model":"a"}}]}', "parameters"),
    (b'{"model":"m","models":[{"id":"a"}]}', "models[0]"),
    (b'{"model":"m","fallbacks":[{"m":["a"]}]}', "fallbacks[0]"),
]


def asked(body: bytes, query: str = "") -> list[Named]:
    steps = model_names.names(body, splice.scan(body), query)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return list(end.value)


@pytest.mark.parametrize(("body", "found"), ASKED)
def test_what_a_body_asks_for(body: bytes, found: list[Named]) -> None:
    assert sorted(asked(body)) == sorted(found)


@pytest.mark.parametrize(("body", "param"), REFUSED)
def test_what_two_readers_may_see_differently_is_refused(body: bytes, param: str) -> None:
    with pytest.raises(errors.ClientFault) as refusal:
        asked(body)
    assert (refusal.value.kind, refusal.value.param) == ("bad_request", param)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", []),
        ("?beta=true", []),
        ("?model=a", [Named("a", "model in the query")]),
        ("?beta=true&MODEL=a%2Fb", [Named("a/b", "MODEL in the query")]),
        ("?mode%6c=a", [Named("a", "model in the query")]),
        ("model=a&model=b", [Named("a", "model in the query"), Named("b", "model in the query")]),
    ],
)
def test_what_a_query_asks_for(query: str, found: list[Named]) -> None:
    body = b'{"model":"m"}'
    assert asked(body, query) == found


def test_depth_is_no_matter() -> None:
    body = b'{"model":"m","tools":' + b"[" * 1000 + b'{"model":"a"}' + b"]" * 1000 + b"}"
    (found,) = asked(body)
    assert found.name == "a"


@pytest.mark.parametrize("extra", [b"", rb',"\u0061":1'], ids=["plain", "escaped"])
@pytest.mark.parametrize("at", range(splice.SLICE - 12, splice.SLICE + 4))
def test_a_member_is_counted_once_wherever_a_step_ends(at: int, extra: bytes) -> None:
    start = b'{"model":"m","tools":[{"name":"'
    body = start + b"x" * (at - len(start)) + b'","model":"a"}]' + extra + b"}"
    assert asked(body) == [Named("a", "tools[0].model")]
    twice = body.replace(b'"model":"a"', b'"model":"b","model":"a"')
    with pytest.raises(errors.Malformed):
        asked(twice)
