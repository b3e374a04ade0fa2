"""The Atlas SDK itself: whether it is installed, the parts of it that are used, and its surroundings."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from crm_assets.errors import ConfigError
from crm_assets.llm.quiet import import_litellm

__all__ = ["KEY_VARIABLE", "AtlasSdk", "load_sdk", "require_sdk", "sdk_environment"]

_DISTRIBUTION = "arc-atlas"
_VERSION = "0.1.16"

KEY_VARIABLE = "CRM_ASSETS_SDK_KEY"
"""The SDK wants a variable with a key for each model. This one holds none: the client has the keys."""

_SWITCHES = (
    "ATLAS_OFFLINE_MODE",  # would answer every call with a mock and reward nothing but 0
    "ATLAS_FAKE_LLM",
    "ATLAS_LEARNING_HISTORY_LIMIT",
    "ATLAS_REVIEW_REQUIRE_APPROVAL",
    "ATLAS_REVIEW_DEFAULT_EXPORT_STATUSES",
    "ATLAS_DRIFT_ENABLED",
    "ATLAS_DRIFT_WINDOW",
    "ATLAS_DRIFT_Z_THRESHOLD",
    "ATLAS_DRIFT_MIN_BASELINE",
)
"""Variables by which the SDK overrules its configuration, of which a baseline would not know."""


@dataclass(frozen=True)
class AtlasSdk:
    """What is used of the SDK."""

    arun: Callable[..., Awaitable[Any]]
    """Takes one session from its beginning to its end, and stores it."""
    context: Callable[[], Any]
    """The running session's memory (`ExecutionContext.get`)."""
    parse_config: Callable[[dict[str, Any]], Any]
    config_error: type[Exception]
    build_teacher_prompts: Callable[..., Any]
    database: type[Any]
    storage_config: type[Any]
    export_sessions: Callable[..., Awaitable[Any]]
    """Its exporter, over any store."""


def require_sdk() -> str:
    """The version of the SDK that is installed; nothing is imported.

    Raises:
        ConfigError: it is not installed, or another version than the one whose forms are known.
    """
    remedy = "pip install 'crm-assets[atlas-sdk]'"
    try:
        found = version(_DISTRIBUTION)
    except PackageNotFoundError:
        raise ConfigError(f"engine: sdk needs the extra: {remedy}.") from None
    if found != _VERSION:
        raise ConfigError(
            f"engine: sdk needs {_DISTRIBUTION} {_VERSION}, and {found} is installed: {remedy}."
        )
    return found


def load_sdk() -> AtlasSdk:
    """Import the SDK. Takes seconds the first time.

    Raises:
        ConfigError: it is not installed.
    """
    require_sdk()
    litellm: Any = import_litellm()
    # What it warns of, with tracebacks, are calls that failed: the ledger and the session's line tell it.
    logger = logging.getLogger("atlas")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
    drops = litellm.drop_params
    core = import_module("atlas.core")
    # The SDK turns it on for the whole process; the client leaves parameters out where it must, no sooner.
    litellm.drop_params = drops
    loader, storage = import_module("atlas.config.loader"), import_module("atlas.runtime.storage.database")
    return AtlasSdk(
        arun=core.arun,
        context=core.ExecutionContext.get,
        parse_config=loader.parse_config,
        config_error=loader.ConfigLoadError,
        build_teacher_prompts=import_module("atlas.prompts").build_teacher_prompts,
        database=storage.Database,
        storage_config=storage.StorageConfig,
        export_sessions=import_module("atlas.cli.jsonl_writer").export_sessions,
    )


@contextmanager
def sdk_environment() -> Iterator[None]:
    """Keep variables that overrule the SDK's configuration out of the process meanwhile."""
    before = {name: os.environ.get(name) for name in (*_SWITCHES, KEY_VARIABLE)}
    for name in _SWITCHES:
        os.environ.pop(name, None)
    os.environ[KEY_VARIABLE] = "none: the calls go through the client of crm_assets"
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
