"""Requests of Google's callers: paths, keys, bodies carried as bytes, errors; acceptance G10, G22, G27, G28 and token counts of G30."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import openai
import pytest
from google.genai import errors, types
from google.oauth2.credentials import Credentials

from dragoman.codecs.errors import OverQuota
from dragoman.proxy.exchange.refusal import refusal
from dragoman.proxy.load.run import Load, Plan
from dragoman.proxy.translate import translate

from ..scripted import respond, sse
from .gemini_stage import HI, UPSTREAMS, USAGE, Google, candidate, googled, parts_of
from .stage import ALICE, BOB, KEY
from .upstreams import JSON, text_answer, tool_answer

ENVELOPE = base64.b64encode(b'dgr1.{"k":"m","u":"messages","b":[{"type":"thinking","thinking":"p","signature":"S1"}]}').decode()
DUMMY = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
ANSWER = googled(candidate({"text": "Good morning"}, finish="STOP", usageMetadata=USAGE))


# ---- G10: bytes ----

ODD = (
    b'{"contents": [{"role":"user","parts":[{"text":"caf\\u00e9"}]}], "generation_config": {"top_k": 5.0, "temperature":1.0},'
    b' "someday": {"a":[1,2]}}'
)


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent?alt=sse", "streamGenerateContent"])
def test_G10_the_body_is_carried_as_it_is(google: Google, method: str) -> None:
    google.play(ANSWER)
    answer = google.post(f"/v1beta/models/gem:{method}", ODD)
    assert (answer.status_code, answer.headers["x-dragoman-lane"]) == (200, "bytes")
    assert google.requests[0].body == ODD
    assert google.requests[0].target.startswith("/v1beta/models/g:")
    assert google.requests[0].headers["x-goog-api-key"] == KEY
    told = answer.json() if "alt" not in method else json.loads(answer.text[6:])
    assert (told[0] if isinstance(told, list) else told)["modelVersion"] == "gem"


CARRYING: JSON = {
    "contents": [
        HI["contents"][0],
        {
            "role": "model",
            "parts": [
                {"text": "p", "thought": True, "thoughtSignature": ENVELOPE},
                {"functionCall": {"name": "f"}, "thought_signature": ENVELOPE.replace("+", "-").replace("/", "_").rstrip("=")},
                {"functionCall": {"name": "g"}},
            ],
        },
        {"role": "user", "parts": [{"functionResponse": {"name": name, "response": {}}} for name in "fg"]},
        {"role": "model", "parts": [{"text": "", "thoughtSignature": ENVELOPE}]},
        HI["contents"][0],
    ]
}


@pytest.mark.parametrize(("model", "first"), [("google/g", {}), ("google/signed", {"thoughtSignature": DUMMY})])
def test_G10_envelopes_do_not_reach_google(google: Google, model: str, first: JSON) -> None:
    google.play(ANSWER)
    answer = google.post(f"/v1beta/models/{model}:generateContent", CARRYING)
    assert answer.status_code == 200, answer.text
    asked = google.asked[0]["contents"]
    assert asked[1]["parts"] == [{"functionCall": {"name": "f"}, **first}, {"functionCall": {"name": "g"}}]
    assert [content["role"] for content in asked] == ["user", "model", "user", "user"]
    assert answer.headers["x-dragoman-dropped"].startswith("contents[*].parts[*].thought")


# ---- G28: keys, names, framing ----


@pytest.mark.parametrize(
    ("query", "headers"),
    [
        ("", {"x-goog-api-key": ALICE}),
        (f"?key={ALICE}", {}),
        (f"?alt=json&key={ALICE}&access_token=x", {}),
        (f"?key={ALICE}", {"x-goog-api-key": ""}),
        ("", {"authorization": f"Bearer {ALICE}", "x-goog-api-key": ""}),
        (f"?key={BOB}", {"authorization": f"Bearer {ALICE}"}),
        ("?key=wrong", {"x-goog-api-key": ALICE, "authorization": "Bearer wrong"}),
    ],
)
def test_G28_keys(google: Google, query: str, headers: dict[str, str]) -> None:
    google.play(ANSWER)
    answer = google.http.post(f"/v1beta/models/google/g:generateContent{query}", json=HI, headers=headers)
    assert answer.status_code == 200, answer.text
    sent = google.requests[0]
    assert ALICE not in sent.target + json.dumps(sent.headers)
    assert "key=" not in sent.target
    assert "access_token" not in sent.target


@pytest.mark.parametrize("query", ["", "?key=wrong"])
def test_G28_without_a_key(google: Google, query: str) -> None:
    google.play(ANSWER)
    answer = google.http.post(f"/v1beta/models/google/g:generateContent{query}", json=HI)
    assert answer.status_code == 401
    assert (answer.json()["error"]["code"], answer.json()["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert not google.requests


def test_G28_the_caller_s_own_key_travels_as_google_s(google: Google) -> None:
    google.play(ANSWER)
    answer = google.http.post(f"/v1beta/models/own/g:generateContent?key={ALICE}", json=HI)
    assert answer.status_code == 200, answer.text
    assert google.requests[0].headers["x-goog-api-key"] == ALICE
    assert google.requests[0].target == "/v1beta/models/g:generateContent"


PATHS = [
    "/v1beta/models/{}:generateContent",
    "/v1/models/{}:generateContent",
    "/v1alpha/models/{}:generateContent",
    "/models/{}:generateContent",
    "//v1beta//models/{}:generateContent/",
    "/v1beta1/projects/p/locations/l/publishers/google/models/{}:generateContent",
    "/v1beta1/publishers/google/models/{}:generateContent",
    "/v1/projects/p/locations/global/endpoints/{}:generateContent",
]


@pytest.mark.parametrize("path", PATHS)
def test_G28_paths(google: Google, path: str) -> None:
    google.play(ANSWER)
    assert google.post(path.format("gem"), HI).status_code == 200
    google.play(text_answer("chat", "Good morning"))
    answer = google.post(path.format("llama3:8b"), HI)
    assert answer.json()["candidates"][0]["content"]["parts"] == [{"text": "Good morning"}]
    assert google.asked[0]["model"] == "llama"


def test_G28_a_publisher_is_the_beginning_of_the_name(google: Google) -> None:
    google.play(text_answer("messages", "Good morning"))
    assert google.post("/v1/publishers/messages/models/m:generateContent", HI).status_code == 200
    assert google.asked[0]["model"] == "m"


def test_G28_names_with_slashes(google: Google) -> None:
    google.play(text_answer("chat", "Good morning"))
    assert google.post("/v1beta/models/chat/a/b:generateContent", HI).status_code == 200
    assert google.post("/v1beta/models/chat%2Fa%2Fb:generateContent", HI).status_code == 200
    assert [asked["model"] for asked in google.asked] == ["a/b", "a/b"]


def test_G28_one_array_without_alt(google: Google) -> None:
    google.play(text_answer("messages", "Good ", "morning"))
    answer = google.post("/v1beta/models/messages/m:streamGenerateContent", HI)
    assert answer.headers["content-type"] == "application/json"
    assert [part["text"] for part in parts_of(answer.json())] == ["Good ", "morning", ""]


@pytest.mark.parametrize(
    ("query", "more", "param"),
    [
        ("?alt=proto", {}, "alt"),
        ("?$alt=xml", {}, "$alt"),
        ("?fields=candidates", {}, "fields"),
        ("", {"model": "models/other"}, "model"),
        ("", {"cachedContent": "cachedContents/1"}, "cachedContent"),
        ("", {"generationConfig": {"candidateCount": 2}}, "candidateCount"),
        ("", {"generationConfig": {"responseMimeType": "text/x.enum"}}, "responseMimeType"),
        ("", {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1, "thinkingLevel": "LOW"}}}, "thinkingLevel"),
        ("", {"contents": []}, "contents"),
        ("", {"contents": [{"role": "tool", "parts": [{"text": "x"}]}]}, "role"),
        ("", {"contents": [{"parts": [{"text": "x", "functionCall": {"name": "f"}}]}]}, "contents[0].parts[0]"),
        ("", {"contents": [{"parts": [{"fileData": {"fileUri": "gs://b/x.png"}}]}]}, "fileData"),
    ],
)
def test_G28_refusals(google: Google, query: str, more: JSON, param: str) -> None:
    answer = google.post(f"/v1beta/models/messages/m:generateContent{query}", HI | more)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    assert param in error["message"]


@pytest.mark.parametrize("model", ["models/google/g", "google/g"])
def test_a_body_may_name_the_model_of_the_path(google: Google, model: str) -> None:
    google.play(ANSWER)
    assert google.post("/v1beta/models/google/g:generateContent", HI | {"model": model}).status_code == 200
    assert google.asked[0]["model"] == "models/g"


def test_G28_names_of_tools(google: Google) -> None:
    google.play(tool_answer("chat", "1st", "{}"))
    tools: JSON = {"functionDeclarations": [{"name": "1st"}]}
    chunks = google.chunks({**HI, "tools": [tools]}, "chat/m")
    assert parts_of(chunks)[0]["functionCall"]["name"] == "1st"


# ---- the lists of models ----


def test_G28_the_list_in_two_forms(google: Google) -> None:
    names = [model.name for model in google.client.models.list()]
    assert "models/gem" in names
    listed = openai.OpenAI(api_key=ALICE, base_url=f"{google.url}/v1", max_retries=0)
    with listed:
        assert {model.id for model in listed.models.list()} == {(name or "")[7:] for name in names}


@pytest.mark.parametrize(
    ("path", "headers", "member"),
    [
        ("/v1/models", {"authorization": f"Bearer {ALICE}"}, "data"),
        ("/v1/models", {"x-goog-api-key": ALICE}, "models"),
        ("/v1/models", {"authorization": f"Bearer {ALICE}", "x-goog-api-client": "x"}, "models"),
        (f"/v1/models?key={ALICE}", {}, "models"),
        ("/v1beta/models", {"authorization": f"Bearer {ALICE}"}, "models"),
        ("/v1beta1/publishers/google/models", {"authorization": f"Bearer {ALICE}"}, "publisherModels"),
        ("/v1/projects/p/locations/l/publishers/google/models", {"authorization": f"Bearer {ALICE}"}, "publisherModels"),
    ],
)
def test_G28_who_gets_which_list(google: Google, path: str, headers: dict[str, str], member: str) -> None:
    answer = google.http.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    assert member in answer.json()


def test_pages_of_the_list(google: Google) -> None:
    everything = google.client.models.list().page
    names: list[Any] = []
    token = ""
    while True:
        answer = google.http.get(f"/v1beta/models?pageSize=2&pageToken={token}&key={ALICE}").json()
        names += [model["name"] for model in answer["models"]]
        token = answer.get("nextPageToken")
        if not token:
            break
        assert len(answer["models"]) == 2
    assert names == [model.name for model in everything]
    assert google.http.get(f"/v1beta/models?pageToken=nope&key={ALICE}").json()["error"]["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("name", ["gem", "llama3:8b"])
def test_one_model(google: Google, name: str) -> None:
    assert google.client.models.get(model=name).name == f"models/{name}"


def test_no_model(google: Google) -> None:
    with pytest.raises(errors.APIError) as raised:
        google.client.models.get(model="nobody")
    assert (raised.value.code, raised.value.status) == (404, "NOT_FOUND")
    assert google.http.get("/v1beta/models/gem").status_code == 401


# ---- other methods ----


def test_embeddings_are_carried(google: Google) -> None:
    google.play([respond({"embeddings": [{"values": [0.5]}]})])
    answer = google.client.models.embed_content(model="gem", contents="x")
    assert answer.embeddings is not None
    assert answer.embeddings[0].values == [0.5]
    assert google.requests[0].target == "/v1beta/models/g:batchEmbedContents"
    assert [one["model"] for one in google.asked[0]["requests"]] == ["models/g"]


@pytest.mark.parametrize("model", ["chat/m", "demo/echo"])
def test_other_upstreams_have_no_such_methods(google: Google, model: str) -> None:
    answer = google.post(f"/v1beta/models/{model}:embedContent", {"content": {"parts": [{"text": "x"}]}})
    assert (answer.status_code, answer.json()["error"]["status"]) == (404, "NOT_FOUND")


def test_another_model_in_a_batch(google: Google) -> None:
    body = {"requests": [{"model": "models/other", "content": {"parts": [{"text": "x"}]}}]}
    assert google.post("/v1beta/models/gem:batchEmbedContents", body).status_code == 400


# ---- G30: token counts ----


def test_G30_google_counts_itself(google: Google) -> None:
    google.play([respond({"totalTokens": 31})])
    assert google.client.models.count_tokens(model="gem", contents="Hi").total_tokens == 31
    assert google.requests[0].target == "/v1beta/models/g:countTokens"


COUNTS = {"messages": "/v1/messages/count_tokens", "responses": "/v1/responses/input_tokens"}


@pytest.mark.parametrize("upstream", COUNTS)
def test_G30_others_that_count_are_asked(google: Google, upstream: str) -> None:
    google.play([respond({"input_tokens": 29, "object": "response.input_tokens"})])
    config = types.CountTokensConfig()
    assert google.client.models.count_tokens(model=f"{upstream}/m", contents="Hi", config=config).total_tokens == 29
    assert google.requests[0].target == COUNTS[upstream]


def test_G30_else_the_tokens_are_estimated(google: Google) -> None:
    wrapped = {"generateContentRequest": {"model": "models/chat/m", **HI, "systemInstruction": {"parts": [{"text": "x" * 350}]}}}
    answer = google.post("/v1beta/models/chat/m:countTokens", wrapped)
    assert answer.headers["x-dragoman-estimate"] == "true"
    assert answer.json()["totalTokens"] > 100


# ---- G22: errors ----


@pytest.mark.parametrize(
    ("upstream", "answer", "code", "word"),
    [
        ("messages", respond({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, 529), 503, "UNAVAILABLE"),
        ("chat", respond({"error": {"message": "x", "type": "rate_limit_error"}}, 429, retry_after="7"), 429, "RESOURCE_EXHAUSTED"),
        ("chat", respond({"error": {"message": "x", "code": "context_length_exceeded"}}, 400), 400, "INVALID_ARGUMENT"),
        ("responses", respond({"error": {"message": "x", "type": "server_error"}}, 500), 500, "INTERNAL"),
        ("responses", respond(b"<html>", 502), 502, "UNAVAILABLE"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_G22_errors_of_other_apis(google: Google, upstream: str, answer: bytes, code: int, word: str, streamed: bool) -> None:
    google.play([answer])
    ask = google.client.models.generate_content_stream if streamed else google.client.models.generate_content
    with pytest.raises(errors.APIError) as raised:
        list(ask(model=f"{upstream}/m", contents="Hi"))
    assert (raised.value.code, raised.value.status) == (code, word)
    if code == 429:
        assert {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"} in raised.value.details["error"]["details"]


def test_G22_google_s_own_errors_are_carried(google: Google) -> None:
    told = {"error": {"code": 400, "message": "Bad", "status": "INVALID_ARGUMENT", "details": [{"@type": "x", "odd": 1}]}}
    google.play([respond(told, 400)])
    answer = google.post("/v1beta/models/gem:generateContent", HI)
    assert (answer.status_code, answer.json()) == (400, told)


def test_G22_a_model_that_the_key_may_not_use(google: Google) -> None:
    with google.sdk(api_key=BOB) as client, pytest.raises(errors.APIError) as raised:
        client.models.generate_content(model="gem", contents="Hi")
    assert (raised.value.code, raised.value.status) == (403, "PERMISSION_DENIED")


def test_G22_nobody_serves_it(google: Google) -> None:
    with pytest.raises(errors.APIError) as raised:
        google.client.models.generate_content(model="nobody", contents="Hi")
    assert (raised.value.code, raised.value.status) == (404, "NOT_FOUND")
    assert google.http.get("/v1beta/models/gem:generateContent").status_code in (401, 405)


# ---- G27: gemini-cli's classifier ----

CLASSIFIER: JSON = {
    "contents": [{"role": "user", "parts": [{"text": "Is it hard?"}]}],
    "systemInstruction": {"parts": [{"text": "Classify."}], "role": "user"},
    "generationConfig": {
        "temperature": 0,
        "topP": 1,
        "responseMimeType": "application/json",
        "response_json_schema": {
            "type": "OBJECT",
            "properties": {"type": {"type": "STRING"}, "model_choice": {"type": "STRING", "enum": ["flash", "pro"]}},
            "required": ["model_choice"],
        },
        "thinkingConfig": {"thinking_budget": 512},
        "maxOutputTokens": 1024,
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"type": {"type": "string"}, "model_choice": {"type": "string", "enum": ["flash", "pro"]}},
    "required": ["model_choice"],
}


@pytest.mark.parametrize("upstream", ["chat", "messages"])
def test_G27_the_classifier(google: Google, upstream: str) -> None:
    google.play(text_answer(upstream, '{"model_choice": "flash"}'))
    answer = google.whole(CLASSIFIER, f"{upstream}/m")
    assert answer["candidates"][0]["content"]["parts"] == [{"text": '{"model_choice": "flash"}'}]
    asked = google.asked[0]
    form = asked["response_format"]["json_schema"] if upstream == "chat" else asked["output_config"]["format"]
    assert {key: form["schema"][key] for key in SCHEMA} == SCHEMA
    assert json.dumps(asked).count("OBJECT") == 0


# ---- every caller's rights ----


def test_a_timeout_of_the_sdk_is_the_request_s(google: Google) -> None:
    from ..scripted import until_closed

    google.play([until_closed])
    answer = google.post("/v1beta/models/gem:generateContent", HI, x_server_timeout="0.2")
    assert (answer.status_code, answer.json()["error"]["status"]) == (504, "DEADLINE_EXCEEDED")


def test_the_demo_models(google: Google) -> None:
    assert google.client.models.generate_content(model="demo/echo", contents="Good morning").text == "Good morning"
    with pytest.raises(errors.APIError):
        list(google.client.models.generate_content_stream(model="demo/error", contents="Good morning, and so on"))


def test_vertex_clients(google: Google) -> None:
    google.play(ANSWER)
    more: dict[str, Any] = {"vertexai": True, "api_key": None, "project": "p", "location": "global"}
    with google.sdk(**more, credentials=Credentials(token=ALICE)) as client:
        assert client.models.generate_content(model="gem", contents="Hi").text == "Good morning"
    assert google.requests[0].target == "/v1beta/models/g:generateContent"


# ---- Claude as Vertex AI has it ----

CLAUDE = "/v1/projects/p/locations/us-east5/publishers/anthropic/models"


@pytest.mark.parametrize("streamed", [False, True])
def test_anthropic_s_sdk_for_vertex(google: Google, streamed: bool) -> None:
    google.play(text_answer("messages", "Good ", "morning"))
    body = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}], "stream": streamed}
    method = "streamRawPredict" if streamed else "rawPredict"
    answer = google.http.post(f"{CLAUDE}/messages%2Fm:{method}", json=body, headers={"authorization": f"Bearer {ALICE}"})
    assert answer.status_code == 200, answer.text
    assert ("event: message_stop" in answer.text) is streamed
    assert google.requests[0].target == "/v1/messages"
    assert google.asked[0]["model"] == "m"
    assert "anthropic_version" not in google.asked[0]


def test_its_token_counts(google: Google) -> None:
    google.play([respond({"input_tokens": 5})])
    body = {"anthropic_version": "vertex-2023-10-16", "model": "messages/m", "messages": [{"role": "user", "content": "Hi"}]}
    answer = google.http.post(f"{CLAUDE}/count-tokens:rawPredict", json=body, headers={"authorization": f"Bearer {ALICE}"})
    assert answer.json() == {"input_tokens": 5}
    assert google.asked[0] == {"model": "m", "messages": body["messages"]}
    refused = google.http.post(f"{CLAUDE}/messages%2Fm:rawPredict", json=body)
    assert (refused.status_code, refused.json()["error"]["type"]) == (401, "authentication_error")


# ---- the command line, and the rest ----


@pytest.mark.parametrize("whole", [False, True])
def test_the_load_tool(google: Google, whole: bool) -> None:
    plan = Plan(google.url, "gemini", "demo/echo", streams=1, seconds=0.2, words=5, whole=whole, key=ALICE)

    async def run() -> Any:
        return await Load(plan).run()

    result = asyncio.run(run())
    assert result["errors"] == {}, result
    assert result["total"]["requests"] > 0


@pytest.mark.parametrize("other", UPSTREAMS)
def test_translate_there_and_back(other: str) -> None:
    said = candidate(
        {"text": "Good morning"}, {"functionCall": {"id": "c1", "name": "f", "args": {"x": 1}}}, finish="STOP", usageMetadata=USAGE
    )
    there, lost, code = translate(json.dumps(said).encode(), "gemini", other)
    assert (lost, code) == ([], 0)
    back, lost, code = translate(there, other, "gemini")
    assert (json.loads(back)["candidates"], lost, code) == (said["candidates"], [], 0)
    there, lost, code = translate(sse(candidate({"text": "Good "})) + sse(candidate({"text": "morning"}, finish="STOP")), "gemini", other)
    assert (lost, code) == ([], 0)
    back, lost, code = translate(there, other, "gemini")
    assert code == 0
    texts = [part["text"] for part in parts_of([json.loads(event[6:]) for event in back.decode().split("\n\n") if event])]
    assert "".join(texts) == "Good morning"


@pytest.mark.parametrize("other", UPSTREAMS)
def test_translate_an_array_and_a_blocked_prompt(other: str) -> None:
    array = json.dumps([candidate({"text": "Good "}), candidate({"text": "morning"}, finish="STOP", usageMetadata=USAGE)]).encode()
    there, lost, code = translate(array, "gemini", other)
    assert (b"Good morning" in there, lost, code) == (True, [], 0)
    there, _, code = translate(json.dumps({"promptFeedback": {"blockReason": "SAFETY"}}).encode(), "gemini", other)
    assert (code, {"chat": b"content_filter", "messages": b'"refusal"', "responses": b"incomplete"}[other] in there) == (0, True)


def test_G22_money_is_not_waited_for() -> None:
    error = OverQuota("Spent.", kind="billing", status=429, retry_after=60, should_retry=False)
    assert "retry-after" not in refusal(error, "gemini", "r").headers
    assert refusal(error, "chat", "r").headers["retry-after"] == "60"
