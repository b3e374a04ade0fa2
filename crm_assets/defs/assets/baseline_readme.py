"""The README and report of a baseline."""

# No postponed annotations here: Dagster reads the context class off the function as it stands.

import dagster as dg

from crm_assets.audit import write_manifest
from crm_assets.conversations.revision import read_revision_file
from crm_assets.defs.assets.baseline_metrics import baseline_metrics
from crm_assets.defs.partitions import BASELINE_PARTITIONS
from crm_assets.defs.records import FILES
from crm_assets.defs.resources import ArtifactsResource
from crm_assets.defs.stages import (
    GROUP,
    OWNERS,
    file_result,
    leased,
    require,
    tags,
    transcripts_link,
)
from crm_assets.reporting import page_code, read_metrics, write_pages
from crm_assets.reporting.plots import draw, markdown_image
from crm_assets.reporting.readme_points import RESULTS_TITLE
from crm_assets.workspace.manifest import published_files

__all__ = ["baseline_readme"]

# Dagster loads the metadata of all of an asset's materializations at once: not every picture belongs there.
_SHOWN = ("success_by_complexity", "success_by_workflow", "learning_curve")


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    tags=tags("readme"),
    partitions_def=BASELINE_PARTITIONS,
    deps=[baseline_metrics],
    code_version="2",
    kinds={"markdown", "html"},
)
def baseline_readme(
    context: dg.AssetExecutionContext, artifacts: ArtifactsResource
) -> dg.MaterializeResult[None]:
    """Summarize agent, data, scores, intervals, common failures: `README.md`, `report.html`, `plots/`.

    Made from `metrics.json` alone. For people: the README beside the data, the same as one HTML page to
    send around, and the pictures of both. `manifest.json` then says what every file of the baseline holds,
    and so does this event.
    """
    with leased(context, artifacts) as paths:
        metrics = read_metrics(require(paths.metrics, baseline_metrics.key.to_user_string()))
        drawings = draw(metrics)
        revision = read_revision_file(paths.revision).model_dump(mode="json")
        text = write_pages(paths, metrics, drawings, revision=revision)
        write_manifest(paths, written_by=page_code())
        files = published_files(paths)
    pictures = {
        drawing.name: dg.MetadataValue.md(markdown_image(drawing.png, drawing.caption))
        for drawing in drawings
        if drawing.name in _SHOWN
    }
    return file_result(
        artifacts.project,
        paths.readme,
        {
            **transcripts_link(paths),
            **_in_parts(text),
            **pictures,
            "report": dg.MetadataValue.path(str(paths.report)),
            "pictures": len(drawings),
            FILES: dg.MetadataValue.json(files),
        },
    )


def _in_parts(readme: str) -> dict[str, dg.MarkdownMetadataValue]:
    """Return a README as two texts: Dagster opens a text that is longer than its window at the end."""
    beginning, title, rest = readme.partition(f"\n## {RESULTS_TITLE}\n")
    results, more, details = rest.partition("\n## ")
    parts = {"readme": beginning + title + results, "readme_details": f"## {details}" if more else ""}
    return {name: dg.MetadataValue.md(part) for name, part in parts.items() if part}
