"""Loads what commands load, once; see tests.soak.ground."""

from importlib import import_module

for _name in (
    "anyio._backends._asyncio",
    "dagster_postgres",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "mpl_toolkits.mplot3d",
    "pandas",
    "psycopg_pool",
    "rich.progress",
    "upath.implementations.local",
    *(
        f"crm_assets.{module}"
        for module in (
            *("atlas.model_run", "audit.leakage", "audit.lineage", "cli", "imports"),
            *("orchestration.event_log", "orchestration.materialize", "orchestration.storage"),
            *("reporting.frames", "reporting.history", "reporting.html", "reporting.plots"),
            *("reporting.report", "reporting.terminal"),
        )
    ),
):
    import_module(_name)

import_module("crm_assets.harness.code_identity").code_fingerprint()  # parses all of the code
