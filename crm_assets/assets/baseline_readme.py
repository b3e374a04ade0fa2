"""How a baseline went, for people."""

# No postponed annotations here: Dagster reads the context class off the function as it stands.

import dagster as dg

from crm_assets.assets.baseline_metrics import baseline_metrics
from crm_assets.assets.common import GROUP, expected_errors, file_result, require
from crm_assets.datasets import read_revision_file
from crm_assets.files import write_text
from crm_assets.partitions import BASELINE_PARTITIONS, baseline_of
from crm_assets.reporting import read_metrics, render_readme
from crm_assets.resources import ArtifactsResource

__all__ = ["baseline_readme"]


@dg.asset(
    group_name=GROUP,
    partitions_def=BASELINE_PARTITIONS,
    deps=[baseline_metrics],
    code_version="1",
    kinds={"markdown"},
)
def baseline_readme(
    context: dg.AssetExecutionContext, artifacts: ArtifactsResource
) -> dg.MaterializeResult[None]:
    """What ran, on what, how well, how sure, and what failed most: `README.md`."""
    with expected_errors():
        paths = artifacts.baseline(baseline_of(context))
        metrics = read_metrics(require(paths.metrics, baseline_metrics.key.to_user_string()))
        revision = read_revision_file(paths.revision)
        text = render_readme(metrics, revision=revision.model_dump(mode="json"))
        write_text(paths.readme, text)
    return file_result(paths.readme, {"readme": dg.MetadataValue.md(text)})
