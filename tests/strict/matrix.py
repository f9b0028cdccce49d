"""The matrix: every typical caller towards every known provider, turn by turn over real sockets, counted by the rules it breaks.

    python -m tests.strict.matrix            # the table, and what was refused

A row is a model, a column a caller. `=` the caller's own shape, carried as it came; `+` the same, but for what the provider refuses, which
was left out or said otherwise, and reported. `·` translated, no rule broken. `!` the gateway refused by itself and said what cannot be
carried. `E` the caller got an error that no rule explains.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import httpx

from dragoman.codecs.registry import SHAPES
from dragoman.conf.providers import known

from ..gateway.spoken import PATHS
from ..scripted import Provider
from .callers import CALLERS, JSON, Caller
from .double import Double
from .folding import fold
from .rules import load

Models = list[tuple[str, str]]
NO_OPTIONS: Mapping[str, Iterable[str]] = {}

# a model of each family, by the double that plays its provider
MODELS: Models = [
    *(
        ("openai", f"openai/{name}")
        for name in ("gpt-4.1", "o1-mini", "o3", "gpt-5", "gpt-5.1", "gpt-5.4", "gpt-5.6-sol", "gpt-6-astra", "gpt-6-luna")
    ),
    *(("anthropic", f"anthropic/claude-{name}") for name in ("3-7-sonnet-latest", "sonnet-4-5", "opus-4-6", "sonnet-4-6", "opus-4-8")),
    *(("anthropic", f"anthropic/claude-{name}") for name in ("opus-5", "opus-5-5", "sonnet-5-5", "fable-5-1", "haiku-5-5")),
    ("azure_openai", "azure_openai/gpt-5.5"),
    ("gemini", "gemini/gemini-3.8-flash"),
    ("gemini", "gemini/gemini-2.5-pro"),
    *(("google", f"google/gemini-{name}") for name in ("3.8-flash", "2.5-pro", "2.0-flash")),
    ("google_vertex", "vertex/google/gemini-2.5-flash"),
    ("deepseek", "deepseek/deepseek-v4-flash"),
    ("deepseek", "deepseek/deepseek-chat"),
    ("moonshotai", "moonshotai/kimi-k2.6"),
    ("moonshotai", "moonshotai/kimi-k3"),
    ("zai", "zai/glm-5.3"),
    ("zai", "zai/glm-4.7"),
    ("qwen", "qwen/qwen3.8-max"),
    ("qwen", "qwen/qwen3-32b"),
    ("minimax", "minimax/MiniMax-M3"),
    ("mistral", "mistral/mistral-large-latest"),
    ("mistral", "mistral/magistral-medium-latest"),
    ("xai", "xai/grok-4.5"),
    ("xai", "xai/grok-4-fast-reasoning"),
    ("groq", "groq/llama-3.3-70b-versatile"),
    ("groq", "groq/openai/gpt-oss-120b"),
    ("groq", "groq/qwen/qwen3-32b"),
    ("cerebras", "cerebras/gpt-oss-120b"),
    ("cerebras", "cerebras/zai-glm-4.7"),
    ("together", "together/deepseek-ai/DeepSeek-V4"),
    ("fireworks", "fireworks/glm-5p3"),
    ("openrouter", "openrouter/google/gemini-3.7-flash"),
    ("openrouter", "openrouter/anthropic/claude-opus-5"),
    ("perplexity", "perplexity/sonar"),
    ("vllm", "vllm/qwen3.6"),
    ("vllm", "vllm/mistral-small-4"),
    ("sglang", "sglang/qwen3.6"),
    ("llamacpp", "llamacpp/local"),
    ("ollama", "ollama/llama3.3"),
    ("lmstudio", "lmstudio/qwen3"),
    ("xiaomi", "xiaomi/mimo-v2.5"),
    ("nvidia", "nvidia/mistralai/mistral-small-4"),
    ("chatgpt", "chatgpt/gpt-5.5"),
    ("copilot", "copilot/gpt-5.4"),
    ("copilot", "copilot/claude-sonnet-4.6"),
    ("cohere", "cohere/command-a-03-2025"),
    ("databricks", "databricks/databricks-claude-opus-5"),
    ("snowflake", "snowflake/claude-sonnet-4-6"),
    ("cloudflare", "cloudflare/@cf/qwen/qwen3-30b-a3b-fp8"),
]


# known by their hosts: their doubles stand behind an address of their own
BASES = {"google_vertex": "/v1/publishers/google"}  # where it is another one
BY_HOST = {"openai", "azure_openai", "chatgpt", "copilot", "cohere", "databricks", "snowflake", "cloudflare"}


@dataclass
class Cell:
    """What came of one caller towards one model.

    rules: that were broken. turns: requests that were answered. lanes: how they were carried. reported: members of the request that did
    not go up as they came. said: the last request, with all that was said.
    """

    rules: list[str] = field(default_factory=list)
    reported: set[str] = field(default_factory=set)
    said: JSON = field(default_factory=dict)
    turns: int = 0
    lanes: set[str] = field(default_factory=set)
    refused: str = ""  # by the gateway itself, before anything was sent
    failed: str = ""  # an error that no rule explains

    def __str__(self) -> str:
        if self.rules:
            return " ".join(dict.fromkeys(self.rules))
        if self.failed:
            return "E"
        if self.refused or self.lanes != {"bytes"}:
            return "!" if self.refused else "·"
        return "+" if self.reported else "="


def apis(provider: str, model: str) -> list[str]:
    """Those of the model's entry: of its provider, as far as the double plays them."""
    row = known().get(model.partition("/")[0])
    played = [SHAPES[shape].api for shape in load(provider).shapes if shape in SHAPES]
    return [str(api) for api in row.apis if api in played] or played if row else played


def configuration(models: Models, urls: dict[str, str]) -> str:
    """Every one of these models, each provider at its double's URL, which keeps the provider's own path."""
    lines = ["listeners: [{type: model, address: 127.0.0.1, port: PORT}]", "model_providers:"]
    for provider, model in models:
        row = known().get(model.partition("/")[0])
        host = f", http_host: {load(provider).hosts[0].replace('*', 'x')}" if provider in BY_HOST else ""
        path = BASES.get(provider, "/v1")
        spoken = ", ".join(apis(provider, model))
        interface = "" if row else ", provider_interface: openai"
        lines.append(
            f'  - {{model: "{model}", base_url: "{urls[provider]}{path}", access_key: sk-upstream-key, apis: [{spoken}]{host}{interface}}}'
        )
    return "\n".join(lines)


@contextlib.contextmanager
def doubles(
    models: Models, options: Mapping[str, Iterable[str]], kind: type[Double] = Double
) -> Iterator[tuple[dict[str, Double], dict[str, str]]]:
    """The double and the URL of each of these models' providers. options: switches by provider."""
    with contextlib.ExitStack() as stack:
        found = {provider: kind(provider, options.get(provider, ())) for provider, _ in models}
        urls = {provider: stack.enter_context(Provider(double.script)).url for provider, double in found.items()}
        yield found, urls


class Driver:
    """Plays callers against a running gateway."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=30)

    def close(self) -> None:
        self._http.close()

    def play(self, caller: Caller, model: str, double: Double) -> Cell:
        """A conversation, until the caller has nothing more to say or something is refused."""
        body = caller.begin(model)
        cell = Cell(said=body)
        before = len(double.violations)
        texts = 0
        while cell.turns < caller.turns and texts < 2:
            asked = len(double.asked)
            answer = self._ask(caller, body, cell, lambda asked=asked: len(double.asked) > asked)
            if answer is None:
                break
            cell.turns += 1
            texts += not caller.go_on(body, answer)
        cell.rules = [rule for rule, _ in double.violations[before:]]
        return cell

    def play_in_turn(self, caller: Caller, models: list[tuple[Double, str]]) -> Cell:
        """One conversation, each of its requests to the next of these models."""
        cell, body = Cell(), caller.begin(models[0][1])
        for double, model in models:
            body["model"] = model
            before, asked = len(double.violations), len(double.asked)
            answer = self._ask(caller, body, cell, lambda double=double, asked=asked: len(double.asked) > asked)
            cell.rules += [f"{rule} at {model}" for rule, _ in double.violations[before:]]
            if answer is None:
                break
            cell.turns += 1
            caller.go_on(body, answer)
        return cell

    def _ask(self, caller: Caller, body: JSON, cell: Cell, sent: Callable[[], bool]) -> JSON | None:
        """The whole answer; None when there was an error, which is noted in the cell."""
        path, sent_body = PATHS.get(caller.shape), body
        if path is None:  # the model and whether to stream stand in it
            sent_body = {name: value for name, value in body.items() if name not in ("model", "stream")}
            path = f"/v1beta/models/{body['model']}:" + ("streamGenerateContent?alt=sse" if body.get("stream") else "generateContent")
        answer = self._http.post(path, json=sent_body, headers=caller.headers)
        cell.lanes.add(answer.headers.get("x-dragoman-lane", ""))
        for told in ("x-dragoman-dropped", "x-dragoman-adapted"):
            cell.reported |= {name.partition("=")[0] for name in answer.headers.get(told, "").split(",") if name}
        if answer.status_code == 200:
            try:
                return fold(caller.shape, answer.content) if body.get("stream") else answer.json()
            except AssertionError as error:
                cell.failed = str(error)
        elif answer.status_code == 400 and not sent():
            cell.refused = answer.text
        else:
            cell.failed = f"{answer.status_code} {answer.text[:500]}"
        return None


class Matrix:
    """cells: what came of each caller (by name) towards each model."""

    def __init__(self, models: Models, driver: Driver, found: dict[str, Double]) -> None:
        self._models = models
        self.cells = {(model, caller.name): driver.play(caller, model, found[id]) for id, model in models for caller in CALLERS}

    def table(self) -> str:
        width = max(len(model) for _, model in self._models)
        rows = [" " * width + " | " + " | ".join(caller.name for caller in CALLERS)]
        for _, model in self._models:
            cells = (str(self.cells[model, caller.name]).ljust(len(caller.name)) for caller in CALLERS)
            rows.append(f"{model:<{width}} | " + " | ".join(cells))
        return "\n".join(rows)

    def broken(self) -> dict[str, list[str]]:
        """The rules that were broken, and by which caller and model."""
        found: dict[str, list[str]] = {}
        for (model, caller), cell in self.cells.items():
            for rule in dict.fromkeys(cell.rules):
                found.setdefault(rule, []).append(f"{caller} > {model}")
        return found

    @property
    def failed(self) -> dict[str, str]:
        """Errors that callers got, though their models would have answered."""
        return {f"{caller} > {model}": cell.failed for (model, caller), cell in self.cells.items() if cell.failed and not cell.rules}

    @property
    def refused(self) -> dict[str, str]:
        """What the gateway refused by name before anything was sent."""
        return {f"{caller} > {model}": cell.refused for (model, caller), cell in self.cells.items() if cell.refused}


@contextlib.contextmanager
def driving(
    models: Models,
    options: Mapping[str, Iterable[str]] = NO_OPTIONS,
    kind: type[Double] = Double,
    configured: Callable[[Models, dict[str, str]], str] = configuration,
) -> Iterator[tuple[Driver, dict[str, Double]]]:
    """A gateway of one's own before the doubles of these models, and what plays callers against it."""
    from ..conftest import Running, free_port

    with doubles(models, options, kind) as (found, urls), tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        port = free_port()
        file.write(configured(models, urls).replace("PORT", str(port)))
        file.flush()
        gateway = Running([file.name], port)
        driver = Driver(gateway.url)
        try:
            yield driver, found
        finally:
            driver.close()
            gateway.close()


def played(models: Models = MODELS, options: Mapping[str, Iterable[str]] = NO_OPTIONS) -> Matrix:
    """The matrix of these models, played against a gateway of its own. options: of the doubles, by provider."""
    with driving(models, options) as (driver, found):
        return Matrix(models, driver, found)


def main() -> None:
    matrix = played()
    print(matrix.table())
    for (model, caller), cell in matrix.cells.items():
        if cell.failed or cell.refused:
            print(f"{model} / {caller}: {cell.failed or cell.refused}")
    print(f"{len(matrix.cells)} cells, {sum(bool(cell.rules) for cell in matrix.cells.values())} with a broken rule")


if __name__ == "__main__":
    main()
