"""YAML documents, read strictly: PyYAML keeps the last of two equal keys and says nothing."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

__all__ = ["read_yaml"]

_MAX_DEPTH = 50
"""Deepest nesting in levels: a configuration has a few, and PyYAML recurses for each."""


def read_yaml(text: bytes) -> object:
    """Return the value of a YAML document.

    Raises:
        ValueError: it is not YAML, a key occurs twice in one mapping, or it is nested too deeply; the
            message names the line.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, LookupError, AttributeError) as error:  # the last two: `!!bool x` and its like
        raise ValueError(" ".join(str(error).split())) from error


class _StrictLoader(yaml.SafeLoader):
    def __init__(self, stream: bytes) -> None:
        super().__init__(stream)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node; refuse deep nesting."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise ValueError(f"line {line} is nested deeper than {_MAX_DEPTH} levels")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Construct a mapping; refuse a key that it has twice."""
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:  # before merged mappings (<<) are added, which may be overridden
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                name = (key.tag, key.value)
                if name in lines:
                    raise ValueError(f"line {line}: the key {key.value!r} is already on line {lines[name]}")
                lines[name] = line
        return super().construct_mapping(node, deep)
