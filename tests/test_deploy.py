"""The files of deploy/ agree with each other, with the code and with Dagster; no container is started."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import orjson
import pytest
import yaml
from celery.bin.celery import celery
from compose_spec import PyCompose
from dagster._cli import create_dagster_cli
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config_schema
from dagster._daemon.cli import cli as daemon
from dagster_webserver.cli import cli as dagster_webserver

from crm_assets.defs.executors import make_executor
from crm_assets.defs.sessions_config import SessionsConfig
from crm_assets.orchestration.celery_worker import LONGEST_STEP_SECONDS
from tests.projects import REPOSITORY
from tests.seaweed import Seaweed

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef]

DEPLOY = REPOSITORY / "deploy"
OURS = ("webserver", "daemon", "code", "worker")
CLICK = {
    "celery": celery,
    "dagster": create_dagster_cli(),
    "dagster-daemon": daemon,
    "dagster-webserver": dagster_webserver,
}


def set_as_in(example: Path, text: str) -> str:
    """Replace variables as Compose does, with those that .env.example has to be filled in for."""
    given = dict.fromkeys(re.findall(r"^([A-Z_]+)=$", example.read_text(), re.MULTILINE), "secret")

    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        assert name in given or kind == "-", f"{name} has no default and is not in {example.name}"
        return given.get(name, rest)

    return re.sub(r"\$\{(\w+):([-?])([^}]*)\}", value, text)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    text = set_as_in(DEPLOY / ".env.example", (DEPLOY / "compose.yaml").read_text())
    return dict(yaml.safe_load(text))


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "kubernetes.yaml").read_text()))


@pytest.fixture(scope="module")
def known() -> set[str]:
    """Return the words of the code and of .env.example, and the variables of an S3 client."""
    files = [*(REPOSITORY / "crm_assets").rglob("*.py"), REPOSITORY / "configs" / "atlas" / ".env.example"]
    words = {word for file in files for word in re.findall(r"[A-Z][A-Z_]+[A-Z]", file.read_text())}
    return words | set(Seaweed(DEPLOY, {"s3": 1}).environment)


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def snake_case(name: str) -> str:
    return re.sub("([A-Z])", r"_\1", name).lower()


def check_command(words: list[str]) -> None:
    """Fail if a command, a subcommand, one of its options or a module of ours does not exist."""
    command: click.Command = CLICK[words[0]]
    for word in words[1:]:
        if word.startswith("--"):
            assert word in {name for parameter in command.params for name in parameter.opts}, word
        elif isinstance(command, click.Group) and word in command.commands:
            command = command.commands[word]
        elif word.startswith("crm_assets."):
            assert find_spec(word) is not None, word
    assert not isinstance(command, click.Group), words


def test_compose_is_valid(compose: dict[str, Any]) -> None:
    PyCompose.from_json(orjson.dumps(compose).decode()).validate()


def test_compose_starts_commands_that_exist(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name in OURS:
        check_command(services[name]["command"])
    check_command(services["code"]["healthcheck"]["test"][1:])
    weed, part, *options = services["store"]["command"]
    usage = subprocess.run(
        [Path(sys.executable).with_name(weed), "help", part], capture_output=True, text=True, check=False
    )
    offered = set(re.findall(r"^  -([\w.]+)", usage.stdout + usage.stderr, re.MULTILINE))
    assert {word[1:].partition("=")[0] for word in options} <= offered


def test_compose_sets_only_variables_that_are_read(compose: dict[str, Any], known: set[str]) -> None:
    for name in OURS:
        assert set(compose["services"][name]["environment"]) <= known


def test_the_parts_of_compose_find_each_other(compose: dict[str, Any]) -> None:
    services = compose["services"]
    (location,) = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"]
    server = location["grpc_server"]
    code = services["code"]
    assert services[server["host"]] is code
    assert str(server["port"]) == option(code["command"], "--port")
    assert str(server["port"]) == option(code["healthcheck"]["test"], "--port")
    assert services["webserver"]["ports"][0].endswith(
        ":" + option(services["webserver"]["command"], "--port")
    )
    for name in OURS:
        service = services[name]
        environment = service["environment"]
        broker, store = (
            urlsplit(environment["CRM_ASSETS_BROKER"]),
            urlsplit(environment["AWS_ENDPOINT_URL"]),
        )
        assert {environment["DB_HOST"], broker.hostname, store.hostname} <= set(services)
        assert {environment["DB_HOST"], broker.hostname, "bucket"} <= set(service["depends_on"])
        assert store.hostname in services["bucket"]["depends_on"]
        assert environment == services["bucket"]["environment"]
        bucket = urlsplit(environment["CRM_ASSETS_ARTIFACTS"]).hostname
        assert f"makedirs('{bucket}', " in services["bucket"]["command"][-1]
        rabbitmq = services[str(broker.hostname)]["environment"]
        assert (broker.username, broker.password) == tuple(rabbitmq.values())
        seaweedfs = services[str(store.hostname)]
        assert seaweedfs["environment"].items() <= environment.items()
        assert f"-s3.port={store.port}" in seaweedfs["command"]
        assert f"-ip={store.hostname}" in seaweedfs["command"]
        assert environment["DB_PASSWORD"] == services["postgres"]["environment"]["POSTGRES_PASSWORD"]


def test_rabbitmq_waits_for_the_longest_step(compose: dict[str, Any]) -> None:
    (source,) = compose["services"]["rabbitmq"]["configs"]
    (milliseconds,) = re.findall(
        r"^consumer_timeout = (\d+)$", compose["configs"][source["source"]]["content"], re.M
    )
    assert int(milliseconds) == LONGEST_STEP_SECONDS * 1000
    assert SessionsConfig.model_fields["shard_minutes"].default * 60 < LONGEST_STEP_SECONDS


def test_the_image_gets_all_that_it_is_made_from() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    kept = [line[1:] for line in ignored if line.startswith("!")]
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    copied = [match for match in re.findall(r"^COPY (\S+)", dockerfile, re.MULTILINE) if match != "."]
    build = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    own = [project["project"]["readme"], *project["project"]["license-files"], *build["packages"]]
    for name in [*copied, *own, *build["force-include"], "pyproject.toml"]:
        assert (REPOSITORY / name).exists(), name
        assert name in kept, name
    for extras in re.findall(r"EXTRAS=([a-z0-9,]+)", dockerfile):
        assert set(extras.split(",")) <= set(project["project"]["optional-dependencies"])


def test_kubernetes_has_the_instance_of_dagster_yaml(values: dict[str, Any]) -> None:
    here = yaml.safe_load((REPOSITORY / "dagster_home" / "dagster.yaml").read_text())
    more = values["additionalInstanceConfig"]
    assert values["telemetry"] == here["telemetry"]
    assert more == {key: here[key] for key in here.keys() - {"storage", "run_launcher", "telemetry"}}
    parsed = process_config(dagster_instance_config_schema(), more)
    assert parsed.success, parsed.errors


def test_kubernetes_starts_our_code_with_variables_that_are_read(
    values: dict[str, Any], known: set[str]
) -> None:
    (code,) = values["dagster-user-deployments"]["deployments"]
    check_command(["dagster", "api", "grpc", *code["dagsterApiGrpcArgs"]])
    environment = {entry["name"]: entry["value"] for entry in code["env"]}
    assert set(environment) <= known
    database = values["postgresql"]
    assert environment["DB_HOST"] == database["postgresqlHost"]
    assert environment["DB_USER"] == database["postgresqlUsername"]


def test_dagster_takes_the_launcher_and_executor_of_kubernetes(values: dict[str, Any]) -> None:
    """Only where the extra k8s is installed: its client takes 46 MB and 1.6 s to import."""
    k8s = pytest.importorskip("dagster_k8s", reason="the extra k8s is not installed")
    from dagster_k8s.container_context import K8sContainerContext

    launcher = values["runLauncher"]
    chosen = launcher["config"]["k8sRunLauncher"]
    assert set(chosen) == {"imagePullPolicy", "runK8sConfig"}
    config = {
        "image_pull_policy": chosen["imagePullPolicy"],
        "run_k8s_config": {snake_case(key): value for key, value in chosen["runK8sConfig"].items()},
        "service_account_name": "dagster",
        "instance_config_map": "dagster-instance",
        "dagster_home": "/opt/dagster/dagster_home",
    }
    parsed = process_config(getattr(k8s, launcher["type"]).config_type(), config)
    assert parsed.success, parsed.errors

    (code,) = values["dagster-user-deployments"]["deployments"]
    context = K8sContainerContext.create_from_config(
        {
            "k8s": {
                "env": code["env"],
                "env_secrets": [secret["name"] for secret in code["envSecrets"]],
                "volumes": code["volumes"],
                "volume_mounts": code["volumeMounts"],
            }
        }
    )
    assert context.run_k8s_config.pod_spec_config["volumes"][0]["name"] == "artifacts"

    environment = {entry["name"]: entry["value"] for entry in code["env"]}
    executor = make_executor(environment)
    parsed = process_config({"config": executor.config_schema.as_field()}, {})
    assert parsed.success, parsed.errors
    assert parsed.value == {"config": {"k8s": parsed.value["config"]["k8s"]}}
