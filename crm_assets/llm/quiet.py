"""litellm, imported when first needed and kept from talking: to the network, the log, the terminal."""

from __future__ import annotations

import logging
import os
import warnings
from types import ModuleType

__all__ = ["import_litellm"]

_LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")


def import_litellm() -> ModuleType:
    """The module, set up. Takes seconds the first time.

    Its loggers stay as they are where `LITELLM_LOG` is set.
    """
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it fetches its price list
    import litellm  # noqa: PLC0415

    if not litellm.suppress_debug_info:
        litellm.suppress_debug_info = True
        litellm.telemetry = False
        if "LITELLM_LOG" not in os.environ:
            for name in _LOGGERS:
                logging.getLogger(name).setLevel(logging.CRITICAL)
        # It warns of each odd reply as it passes it on, which the ledger tells, and of its own types.
        for message in ("Pydantic serializer warnings", ".*`ReadOnly` qualifier"):
            warnings.filterwarnings("ignore", message=message, category=UserWarning)
    module: ModuleType = litellm
    return module
