"""The Atlas SDK: whether it is installed, the parts that are used, and its environment variables."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from crm_assets.errors import ConfigError
from crm_assets.llm.litellm_backend import import_litellm

__all__ = [
    "KEY_VARIABLE",
    "AtlasSdk",
    "Document",
    "SdkMapping",
    "load_sdk",
    "require_sdk",
    "sdk_environment",
]

_DISTRIBUTION = "arc-atlas"
_VERSION = "0.1.16"

KEY_VARIABLE = "CRM_ASSETS_SDK_KEY"
"""The variable with a key that the SDK requires for each model. It has none: the client has the keys."""

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
"""Environment variables that override the SDK's configuration, unseen by the baseline's record."""

Document = dict[str, object]
"""A JSON object for the SDK."""

SdkMapping = Mapping[str, Any]
"""An object from the SDK, which has no types for it."""


@dataclass(frozen=True)
class AtlasSdk:
    """The parts of the SDK that are used."""

    arun: Callable[..., Awaitable[Any]]
    """Runs and stores one session."""
    context: Callable[[], Any]
    """The running session's memory (`ExecutionContext.get`)."""
    parse_config: Callable[[Document], object]
    config_error: type[Exception]
    build_teacher_prompts: Callable[..., Any]
    database: type[Any]
    storage_config: type[Any]
    export_sessions: Callable[..., Awaitable[Any]]
    """Its exporter, over any store."""


def require_sdk() -> str:
    """Return the version of the installed SDK without importing it.

    Raises:
        ConfigError: it is not installed, or another version than the supported one.
    """
    remedy = ".venv/bin/python -m uv pip install -e '.[atlas-sdk]'"
    try:
        found = version(_DISTRIBUTION)
    except PackageNotFoundError:
        raise ConfigError(f"engine: sdk needs the extra atlas-sdk; run: {remedy}.") from None
    if found != _VERSION:
        raise ConfigError(
            f"engine: sdk needs {_DISTRIBUTION} {_VERSION}, but {found} is installed; run: {remedy}."
        )
    return found


def load_sdk() -> AtlasSdk:
    """Import the SDK. Takes seconds the first time.

    Raises:
        ConfigError: it is not installed.
    """
    require_sdk()
    litellm: Any = import_litellm()
    # It warns, with tracebacks, of failed calls, which the ledger and the session's record hold.
    logger = logging.getLogger("atlas")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
    drops = litellm.drop_params
    core = import_module("atlas.core")
    # Importing the SDK turns it on for the whole process; the client drops only the parameters it must.
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
    """Remove the variables that override the SDK's configuration from the environment meanwhile."""
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
