"""A YAML file as plain data, with the line and column of every key and value.

Reading stops at a syntax error only. Some things that YAML accepts are problems here: a duplicate key (the later one would win), a key
that is not text, a value that contains itself. Dates remain text (`m.version: 2026-10-21`); a key with an empty value is left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

Path = tuple[str | int, ...]
Position = tuple[int, int]

_WORDS = ("on",)  # keys of ours that YAML 1.1 takes for a boolean

MAX_VALUES = 100_000  # bounds the expansion of nested aliases

_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # by the escapes \0 and \ud800: neither a path, a header nor UTF-8 can have it
_NOT_TEXT = "must not contain NUL, or half of a pair of surrogates"


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class Problem:
    """An error at a position in a file."""

    file: str
    line: int
    column: int
    path: str
    message: str

    def __str__(self) -> str:
        path = f"{self.path}: " if self.path else ""
        return f"{self.file}:{self.line}:{self.column}: {path}{self.message}"


class ConfigError(Exception):
    """All problems of a configuration, in the order of the file. `str` gives one line per problem."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(problems, key=lambda p: (p.line, p.column))
        super().__init__("\n".join(map(str, self.problems)))


def show(path: Path) -> str:
    """Format a path: `('a', 0, 'b')` as `a[0].b`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")


class Document:
    """Plain data and the position of each part. Raises ConfigError when the text is not one YAML mapping."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._values: dict[Path, Position] = {}
        self._keys: dict[Path, Position] = {}
        self._moved: list[tuple[Path, Path]] = []
        self._count = 0
        self.empty: list[Path] = []  # keys without a value
        self.data: dict[str, Any] = {}
        data = self._parse(text)
        if data is None:
            return
        if not isinstance(data, dict):
            raise ConfigError([Problem(file, 1, 1, "", "must be a mapping of keys to values")])
        self.data = data

    def note(self, path: Path, message: str, *, at_key: bool = False) -> None:
        """Add a problem at a path. at_key: at the key rather than the value. An unknown path falls back to what encloses it."""
        path = self._as_written(path)
        line, column = self._position(path, at_key)
        self.problems.append(Problem(self.file, line, column, show(path), message))

    def warning(self, path: Path, message: str, *, at_key: bool = False) -> str:
        """A line about something at a path that is no error."""
        path = self._as_written(path)
        return str(Problem(self.file, *self._position(path, at_key), show(path), message))

    def collected(self, paths: list[Path], message: str) -> str:
        """One line about several keys, which names each with its line. paths: at least one."""
        written = sorted((self._position(path, True), show(path)) for path in map(self._as_written, paths))
        names = ", ".join(f"{name} (line {line})" for (line, _), name in written)
        return str(Problem(self.file, *written[0][0], "", f"{message}: {names}"))

    def problem(self, path: Path, message: str) -> Problem:
        """A problem at a path which the message names in its own words."""
        return Problem(self.file, *self._position(self._as_written(path), False), "", message)

    def fail(self) -> NoReturn:
        """Raise ConfigError with the problems that were noted."""
        raise ConfigError(self.problems)

    def move(self, old: Path, new: Path) -> None:
        """Report problems below `new` as below `old`, the name that the file uses."""
        self._moved.append((new, old))

    def shown(self, path: Path) -> str:
        """A path as the file writes it."""
        return show(self._as_written(path))

    def _as_written(self, path: Path) -> Path:
        for new, old in reversed(self._moved):
            if path[: len(new)] == new:
                path = old + path[len(new) :]
        return path

    def _position(self, path: Path, at_key: bool) -> Position:
        if at_key and path in self._keys:
            return self._keys[path]
        while path and path not in self._values:
            path = path[:-1]
        return self._values.get(path, (1, 1))

    def _parse(self, text: str) -> Any:
        loader = None
        try:
            loader = _Loader(text)
            node = loader.get_single_node()
            return None if node is None else self._read(loader, node, (), ())
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._broken(error.problem or "syntax error", mark) from None
        except yaml.YAMLError:
            raise self._broken("it contains characters that YAML does not allow", None) from None
        except RecursionError:
            raise self._broken("nested too deeply", None) from None
        finally:
            if loader is not None:
                loader.dispose()

    def _broken(self, message: str, mark: yaml.Mark | None) -> ConfigError:
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return ConfigError([*self.problems, Problem(self.file, line, column, "", f"not valid YAML: {message}")])

    def _read(self, loader: _Loader, node: yaml.Node, path: Path, above: tuple[yaml.Node, ...]) -> Any:
        self._values[path] = _start(node)
        self._count += 1
        if self._count > MAX_VALUES:
            raise self._broken("too many values", node.start_mark)
        if any(node is other for other in above):
            self.note(path, "contains itself")
            return None
        above = (*above, node)
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(loader, node, path, above)
        if isinstance(node, yaml.SequenceNode):
            return [self._read(loader, item, (*path, index), above) for index, item in enumerate(node.value)]
        try:
            value = loader.construct_object(node)
        except (ValueError, LookupError, AttributeError):  # PyYAML's, for a tag that does not fit: `!!int ''`, `!!bool x`
            self.note(path, "not a valid YAML value")
            return None
        if isinstance(value, str) and _NO_TEXT.search(value):
            self.note(path, _NOT_TEXT)
            return None
        return value

    def _read_mapping(self, loader: _Loader, node: yaml.MappingNode, path: Path, above: tuple[yaml.Node, ...]) -> dict[str, Any]:
        self._report_doubles(node, path)
        loader.flatten_mapping(node)  # <<: merge keys
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = key_node.value
            if not isinstance(key_node, yaml.ScalarNode) or (key_node.tag != "tag:yaml.org,2002:str" and key not in _WORDS):
                shown = key if isinstance(key, str) else "a key"
                self._values.setdefault((*path, shown), _start(key_node))
                self.note((*path, shown), "a key must be text: put quotes around it")
                continue
            if _NO_TEXT.search(key):
                self._values.setdefault((*path, "a key"), _start(key_node))
                self.note((*path, "a key"), _NOT_TEXT)
                continue
            below = (*path, key)
            self._keys[below] = _start(key_node)
            value = self._read(loader, value_node, below, above)
            data.pop(key, None)  # a key of the mapping overrides a merged one
            if value is not None:
                data[key] = value
            else:
                self.empty.append(below)
        return data

    def _report_doubles(self, node: yaml.MappingNode, path: Path) -> None:
        first: dict[str, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            line, column = _start(key_node)
            if key_node.value in first:
                message = f"duplicate key: first used in line {first[key_node.value]}"
                self.problems.append(Problem(self.file, line, column, show((*path, key_node.value)), message))
            first.setdefault(key_node.value, line)


def _start(node: yaml.Node) -> Position:
    return node.start_mark.line + 1, node.start_mark.column + 1
