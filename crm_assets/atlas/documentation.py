"""The configuration's reference for people, made from the models that read it."""

from __future__ import annotations

import types
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from crm_assets.atlas.config import AtlasConfig
from crm_assets.llm import ModelSpec

__all__ = ["config_markdown"]

_SHARED: tuple[type[BaseModel], ...] = (ModelSpec,)
"""Models that stand in many places, and are told once."""

_INTRODUCTION = """\
# The Atlas configuration

Made by `crm-assets atlas keys` from `crm_assets/atlas/config.py`; do not edit.

A file in `configs/atlas/`. Keys that are not listed here are refused. What is not given has its default; a
dash in that column means that it must be given.
"""


def config_markdown() -> str:
    """Every key of a configuration, by section, as Markdown."""
    parts = [_INTRODUCTION]
    parts += [_section(title, model) for title, model in _sections("", AtlasConfig)]
    return "\n".join(parts)


def _sections(path: str, model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """The model and those in it, outer ones first; those that stand in many places once, at the end."""
    yield path or "Top level", model
    for name, field in model.model_fields.items():
        inner = _model_of(field.annotation)
        if inner is not None and not _is_shared(inner):
            keyed = ".<provider>" if get_origin(field.annotation) is dict else ""
            yield from _sections(f"{path}.{_key(name, field)}{keyed}".lstrip("."), inner)
    if model is AtlasConfig:
        yield from (("An LLM section", shared) for shared in _SHARED)


def _section(title: str, model: type[BaseModel]) -> str:
    heading = f"## {title}\n" if " " in title else f"## `{title}`\n"
    rows = [_row(_key(name, field), field) for name, field in model.model_fields.items()]
    about = (model.__doc__ or "").strip()
    return f"{heading}\n{about}\n\n| key | value | default | what it is |\n| --- | --- | --- | --- |\n" + (
        "\n".join(rows) + "\n"
    )


def _row(key: str, field: FieldInfo) -> str:
    inner = _model_of(field.annotation)
    about = field.description or (inner.__doc__ if inner and not _is_shared(inner) else "") or ""
    return f"| `{key}` | {_kind(field.annotation)} | {_default(field)} | {about.strip()} |"


def _key(name: str, field: FieldInfo) -> str:
    return field.alias or name


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, if it holds one."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _is_shared(model: type[BaseModel]) -> bool:
    return model in _SHARED


_SCALARS = {str: "text", bool: "true, false", int: "whole number", float: "number"}


def _kind(annotation: Any) -> str:
    """A type in words."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "an LLM section" if _is_shared(annotation) else "section"
    inner = get_args(annotation)
    match get_origin(annotation):
        case None:
            words = _SCALARS[annotation]
        case origin if origin is Literal:
            words = ", ".join(f"`{value}`" for value in inner)
        case origin if origin is tuple:
            words = f"list of {_kind(inner[0])}"
        case origin if origin is dict:
            words = f"by name: {_kind(inner[1])}"
        case origin if origin is Annotated:
            words = _kind(inner[0])
        case _:
            words = " or ".join(_kind(part) for part in inner if part is not types.NoneType)
    return words


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "–"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel) or value in ((), {}, None, PydanticUndefined):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return ", ".join(f"`{entry}`" for entry in value)
    return f"`{value.value if isinstance(value, Enum) else value}`"
