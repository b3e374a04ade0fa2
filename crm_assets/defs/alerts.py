"""Alerts of failed runs, sent to a webhook."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from crm_assets.errors import ConfigError, InfrastructureError

__all__ = ["ALERT_VARIABLE", "Alert", "send_alert"]

ALERT_VARIABLE = "ALERT_WEBHOOK_URL"

_TIMEOUT_SECONDS = 10
_LONGEST = 1000  # characters of an error


@dataclass(frozen=True)
class Alert:
    """A run that failed."""

    run_id: str
    job: str
    partition: str | None
    error: str


def send_alert(url: str, alert: Alert, *, environment: Mapping[str, str]) -> None:
    """POST `alert` as JSON, with a `text` for people; keys of `environment` are taken out of it.

    Raises:
        ConfigError: the URL is not an http(s) one.
        InfrastructureError: the webhook did not accept it.
    """
    from crm_assets.llm import make_redactor  # noqa: PLC0415  (a sensor's import should be quick)

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{ALERT_VARIABLE} must be an http(s) URL.")
    error = make_redactor(environment)(" ".join(alert.error.split()))[:_LONGEST]
    where = f" of {alert.partition}" if alert.partition else ""
    document = {
        "text": f"Run {alert.run_id} ({alert.job}{where}) failed: {error}",
        **asdict(alert),
        "error": error,
    }
    request = urllib.request.Request(  # noqa: S310  (http or https, see above)
        url,
        data=json.dumps(document).encode(),
        headers={"Content-Type": "application/json"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS):  # noqa: S310
            pass
    except OSError as failure:  # HTTPError and URLError are such; the URL can hold a token and is not shown
        reason = f"HTTP {failure.code}" if isinstance(failure, urllib.error.HTTPError) else _reason(failure)
        raise InfrastructureError(
            f"The webhook at {parts.hostname} did not accept the alert of run {alert.run_id} ({reason}); "
            f"correct {ALERT_VARIABLE}."
        ) from None


def _reason(error: OSError) -> str:
    inner = getattr(error, "reason", error)
    return str(getattr(inner, "strerror", None) or inner)
