"""The studies of learning: what learning gains, with a control."""

# No postponed annotations here: Dagster reads the config class off the function as it stands.

from datetime import timezone
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from crm_assets.defs.assets.progress import tell
from crm_assets.defs.commands import run_command
from crm_assets.defs.partitions import DATASET_PARTITIONS
from crm_assets.defs.records import DATA_VERSION
from crm_assets.defs.resources import ArtifactsResource
from crm_assets.defs.stages import OWNERS, expected_errors, tags
from crm_assets.reporting.study import Study, render_study_markdown
from crm_assets.reporting.study.page import headline
from crm_assets.workspace.files import sha256_of_file
from crm_assets.workspace.keys import BaselineKey, RunKey
from crm_assets.workspace.study_files import StudyPaths

__all__ = ["StudyConfig", "learning_study", "study_materialization"]

_GROUP = "study"


class StudyConfig(dg.Config):
    """Options of `learning_study`."""

    arms: list[str] = Field(
        default=["off", "frozen", "on"], description="What is compared: on, with off or frozen or both."
    )
    repeats: int = Field(default=3, ge=1, description="How often each arm is scored.")
    split: float = Field(default=0.5, gt=0, lt=1, description="Share of the conversations to teach on.")
    seed: int = Field(default=0, ge=0, description="Of the split.")
    limit: int | None = Field(
        default=None, ge=1, description="Conversations from the start of the dataset; left out, all."
    )
    run: str | None = Field(
        default=None,
        description="Key of a study to resume, as in 20260131T093000Z-study; left out, a new one.",
    )
    options: list[str] = Field(
        default=[],
        description="Further options of `crm-assets study`, as in --config, configs/atlas/mine.yaml.",
    )

    def arguments(self, dataset: str, run: str) -> list[str]:
        """Return these options as those of the command."""
        limit = [] if self.limit is None else ["--limit", str(self.limit)]
        return [
            *("--dataset", dataset, "--run", run, "--arms", ",".join(self.arms)),
            *("--repeats", str(self.repeats), "--split", str(self.split), "--seed", str(self.seed)),
            *limit,
            *self.options,
        ]


@dg.asset(
    group_name=_GROUP,
    owners=OWNERS,
    tags=tags("study"),
    partitions_def=DATASET_PARTITIONS,
    code_version="1",
    kinds={"json", "markdown", "html"},
)
def learning_study(
    context: dg.AssetExecutionContext, config: StudyConfig, artifacts: ArtifactsResource
) -> dg.MaterializeResult[None]:
    """Measure the gain of learning on conversations that it never saw, with a control: a page and figures.

    Runs `crm-assets study`, whose arms are ordinary baselines of the dataset and appear as runs of their
    own. A study that was stopped is resumed by its key, or by a retry of this run.
    """
    dataset, project = context.partition_key, artifacts.project
    run = config.run or _new_key(context)
    tell(context, f"Study {run}; resume it with the option run: {run}")
    with expected_errors():
        words = ["study", *config.arguments(dataset, run), "--unrecorded"]
        run_command(words, project.root, partial(tell, context))
    paths = StudyPaths.of(project, BaselineKey.of(dataset, run))
    study = Study.model_validate_json(paths.document.read_bytes())
    return dg.MaterializeResult(
        metadata=_metadata(paths, study), data_version=dg.DataVersion(sha256_of_file(paths.document))
    )


def _new_key(context: dg.AssetExecutionContext) -> str:
    """Return the key of a new study; retries of a run get the key of the first of them."""
    root = context.run.root_run_id or context.run_id
    record = context.instance.get_run_record_by_id(root)
    if record is None:
        return str(RunKey.now("study"))
    return str(RunKey(record.create_timestamp.astimezone(timezone.utc).replace(microsecond=0), "study"))


def study_materialization(paths: StudyPaths, study: Study) -> dg.AssetMaterialization:
    """Return the event of a study that the command line ran."""
    digest = sha256_of_file(paths.document)
    return dg.AssetMaterialization(
        asset_key=learning_study.key,
        partition=study.plan.dataset,
        metadata=_metadata(paths, study),
        tags={DATA_VERSION: digest, "dagster/data_version_is_user_provided": "true"},
    )


def _metadata(paths: StudyPaths, study: Study) -> dict[str, Any]:
    gain, learning = study.gain.paired, study.learning
    figures = {
        "gain": gain.difference,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "p_value": gain.p_value,
        "gain_on_seen": study.seen.paired.difference,
        "conversations_needed": study.gain.needed,
        "learning_tokens": learning.tokens,
        "learning_cost_usd": learning.cost_usd,
        "entries": learning.entries,
    }
    return {
        "headline": headline(study.gain),
        "study": study.plan.run,
        **{name: value for name, value in figures.items() if value is not None},
        "page": dg.MetadataValue.md(render_study_markdown(study)),
        "path": dg.MetadataValue.path(str(paths.document)),
        "report": dg.MetadataValue.path(str(paths.report)),
        "sha256": sha256_of_file(paths.document),
    }
