"""Dagster's storage finds the project's database by itself."""

from __future__ import annotations

from urllib.parse import urlsplit

import dagster as dg
import pytest
from sqlalchemy.engine import Engine
from sqlalchemy.event import listen, remove

from crm_assets.database import connect_databases
from crm_assets.errors import ConfigError, InfrastructureError, InputError
from crm_assets.orchestration.materialize import open_instance, refresh_history
from crm_assets.orchestration.storage import ProjectPostgresStorage
from crm_assets.workspace.project import Project
from tests.servers import drop_databases


def storage(**config: object) -> ProjectPostgresStorage:
    return ProjectPostgresStorage.from_config_value(None, {"should_autocreate_tables": False, **config})


def test_an_instance_built_from_the_home_folder_keeps_its_runs_there(project: Project) -> None:
    for _ in range(2):  # the second one finds what the first one wrote
        with dg.DagsterInstance.from_config(str(project.dagster_home)) as instance:
            instance.add_dynamic_partitions("crm_dataset", ["dev"])
    with open_instance(project) as instance:
        assert instance.get_dynamic_partitions("crm_dataset") == ["dev"]


def test_an_instance_survives_the_way_to_another_process(project: Project) -> None:
    with open_instance(project) as instance:
        instance.add_dynamic_partitions("crm_dataset", ["dev"])
        reference = instance.get_ref()
    with dg.DagsterInstance.from_ref(reference) as there:
        assert there.get_dynamic_partitions("crm_dataset") == ["dev"]


@pytest.mark.parametrize(
    ("dimension", "key", "sentence"),
    [
        ("crm_run", "yesterday", "'yesterday' is not a run key: use a UTC time.*'20260131T093000Z'"),
        ("crm_run", "20261399T000000Z", "is not a run key: there is no such time"),
        ("crm_dataset", "My Data", "'My Data' is not a dataset key"),
    ],
)
def test_what_is_no_key_is_refused_where_the_ui_adds_it(
    project: Project, dimension: str, key: str, sentence: str
) -> None:
    with open_instance(project) as instance:
        with pytest.raises(InputError, match=sentence):
            instance.add_dynamic_partitions(dimension, [key])
        assert instance.get_dynamic_partitions(dimension) == []


def test_it_takes_the_projects_database(project: Project) -> None:
    assert storage().postgres_url == connect_databases(project).dagster


def test_a_url_in_the_configuration_counts_first(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    url = connect_databases(project).dagster
    monkeypatch.setenv("DAGSTER_DATABASE_URL", "postgresql+psycopg2://nobody@127.0.0.1:1/x")
    assert storage(postgres_url=url).postgres_url == url


def test_a_database_that_is_down_is_a_sentence(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_DATABASE_URL", "postgresql+psycopg2://nobody@127.0.0.1:1/x")
    with pytest.raises(InfrastructureError, match="storage does not answer") as raised:
        storage()
    assert "\n" not in str(raised.value)


def test_the_catalog_is_not_searched_before_every_event(project: Project) -> None:
    searches: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "pg_catalog" in statement:
            searches.append(statement)

    @dg.job
    def nothing() -> None:
        pass

    def work(instance: dg.DagsterInstance) -> None:
        done = nothing.execute_in_process(instance=instance)
        instance.report_runless_asset_event(dg.AssetObservation("something"))
        assert instance.get_asset_records([dg.AssetKey("something")])
        assert not instance.has_dynamic_partition("crm_dataset", "dev")
        assert instance.get_run_record_by_id(done.run_id)

    with open_instance(project) as instance:
        work(instance)  # looks what the database has
        listen(Engine, "before_cursor_execute", note)
        try:
            work(instance)
        finally:
            remove(Engine, "before_cursor_execute", note)
    assert searches == []


@pytest.mark.parametrize("work", ["read", "run"])
def test_a_storage_that_goes_away_is_a_sentence(
    project: Project, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dagster_postgres.utils.calculate_delay", lambda **_: 0.0)  # between its six tries
    databases = connect_databases(project)
    with (
        pytest.raises(InfrastructureError, match=r"^Dagster's storage went away \(.+\); .*--run") as raised,
        open_instance(project) as instance,
    ):
        drop_databases(databases.sandbox, urlsplit(databases.dagster).path.lstrip("/"))
        if work == "read":
            instance.get_runs()
        else:
            refresh_history(instance, "dev")
    assert "\n" not in str(raised.value)


def test_a_url_that_is_none_is_a_sentence(project: Project) -> None:
    with pytest.raises(ConfigError, match="must read postgresql"):
        storage(postgres_url="somewhere")


def test_a_folder_that_is_no_project_is_not_given_a_server(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.root / "workspace.yaml").unlink()
    with pytest.raises(ConfigError, match="is not a crm_assets project"):
        storage()


def test_an_instance_without_its_configuration_is_a_sentence(project: Project) -> None:
    (project.dagster_home / "dagster.yaml").unlink()
    with pytest.raises(ConfigError, match=r"has no dagster\.yaml"), open_instance(project):
        pass


def test_a_configuration_of_an_older_version_is_a_sentence(project: Project) -> None:
    path = project.dagster_home / "dagster.yaml"
    path.write_text(path.read_text().replace("orchestration.storage", "dagster_storage"))
    with pytest.raises(ConfigError) as caught, open_instance(project):
        pass
    assert "Couldn't import module crm_assets.dagster_storage" in str(caught.value)
    assert str(caught.value).endswith("from this version's dagster_home/dagster.yaml.")
