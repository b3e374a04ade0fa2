"""`crm-assets offline-server`: the offline models behind OpenAI's HTTP interface."""

from __future__ import annotations

import click

from crm_assets.cli.ui import HOST, port_is_free
from crm_assets.errors import InputError

__all__ = ["offline_server"]


@click.command("offline-server")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8000, show_default=True, help="Port on 127.0.0.1."
)
@click.option(
    "--latency-ms",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="Delay of every reply.",
)
@click.option(
    "--fault-rate",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of requests that fail, in various ways, to test retries.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed that selects the failing requests."
)
def offline_server(*, port: int, latency_ms: float, fault_rate: float, seed: int) -> None:
    """Serve the offline models as an OpenAI-compatible server.

    It prints the variables that make a run use it. Such a run takes the same path as with a provider,
    without an API key and its costs. Ctrl-C ends the server.
    """
    if not port_is_free(port):
        raise InputError(f"Port {port} is in use: stop what listens there or choose --port.")

    from crm_assets.offline_models import FaultMix, serve

    faults = FaultMix(fault_rate, seed=seed) if fault_rate else None
    serve(port, latency_seconds=latency_ms / 1000, faults=faults, ready=_tell)


def _tell(url: str) -> None:
    click.echo(f"OPENAI_API_BASE={url} OPENAI_API_KEY=any crm-assets baseline --dataset dev")
    click.echo(f"Serving the offline models on {HOST}; Ctrl-C ends it.", err=True)
