"""Artifacts in a real S3 server, as seen from several machines: each a folder of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from crm_assets.errors import ConfigError, InfrastructureError
from crm_assets.workspace.baseline_files import (
    BaselinePaths,
    claim_run,
    datasets_with_run,
    finished_runs,
    release_run,
    runs_of,
)
from crm_assets.workspace.datasets import available_datasets, require_dataset
from crm_assets.workspace.identity import known_project_id, project_id
from crm_assets.workspace.keys import BaselineKey, RunKey
from crm_assets.workspace.manifest import read_manifest, write_manifest
from crm_assets.workspace.notes import add_note, read_notes
from crm_assets.workspace.project import Project
from crm_assets.workspace.states import RunState, status_of
from crm_assets.workspace.store import Artifacts, StoreGone, WrittenElsewhere, uploads
from crm_assets.workspace.store.objects import AlreadyThere, ObjectStore
from crm_assets.workspace.stored import stored_artifacts
from tests.seaweed import SECRET_KEY, Seaweed, seaweed

pytestmark = pytest.mark.whole
pytest.importorskip("s3fs", reason="s3fs is not installed")

RUN = "20260131T093000Z"
KEY = BaselineKey.of("dev", RUN)


@pytest.fixture(scope="module")
def server() -> Iterator[Seaweed]:
    with seaweed() as running:
        yield running


@pytest.fixture
def url(server: Seaweed, monkeypatch: pytest.MonkeyPatch) -> str:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    address = f"s3://tests/{uuid4().hex}"
    monkeypatch.setenv("CRM_ASSETS_ARTIFACTS", address)
    return address


@pytest.fixture
def here(url: str, tmp_path: Path) -> Project:
    return Project(tmp_path / "here")


@pytest.fixture
def there(url: str, tmp_path: Path) -> Project:
    return Project(tmp_path / "there")


def copies_of(project: Project) -> Artifacts:
    copies = stored_artifacts(project)
    assert copies is not None
    copies.forget()
    return copies


def finish(project: Project, *, sessions: bytes = b"session\n" * 9) -> BaselinePaths:
    """Make a baseline's files, under way and then finished, as its stages do."""
    paths = BaselinePaths.of(project, KEY)
    copies = copies_of(project)
    with copies.working_on(paths.folder, unless=lambda: False):
        begin(paths, sessions)
        copies.publish(paths.folder)
        paths.finish()
        for path in (paths.metrics, paths.readme, paths.plots / "a.svg"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(path.name)
        write_manifest(paths)
    return paths


def begin(paths: BaselinePaths, sessions: bytes = b"session\n") -> None:
    paths.folder.mkdir(parents=True, exist_ok=True)
    for path in (paths.tasks, paths.plan, paths.ledger):
        path.write_text(path.name)
    paths.partial.write_bytes(sessions)
    paths.partial.with_name(f"{paths.partial.name}.run.json").write_text("{}")


def test_objects_are_written_once_and_replaced_by_who_knows_them(url: str, tmp_path: Path):
    store = ObjectStore(url)
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"1")
    second.write_bytes(b"22")
    written = store.put(first, "a/b", replaces=None)
    assert store.find("a") == {"a/b": written} and written.bytes == 1
    with pytest.raises(AlreadyThere):
        store.put(second, "a/b", replaces=None)
    with pytest.raises(AlreadyThere):
        store.put(second, "a/b", replaces='"0"')
    replaced = store.put(second, "a/b", replaces=written.etag)
    assert replaced.etag != written.etag and store.info("a/b") == replaced
    store.get("a/b", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"22"
    with pytest.raises(FileNotFoundError):
        store.get("a/c", tmp_path / "c")
    assert store.info("a/c") is None and store.find("none") == {} and store.folders("") == ["a"]
    store.remove("a/b")
    store.remove("a/b")
    assert store.find("a") == {} and store.check()


def test_large_objects_appear_whole_and_only_once(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("crm_assets.workspace.store.objects._PART_BYTES", 5 << 20)
    monkeypatch.setattr("crm_assets.workspace.store.objects._SINGLE_BYTES", 10 << 20)
    store, large = ObjectStore(url), tmp_path / "large"
    large.write_bytes(bytes(range(256)) * (12 << 12))
    written = store.put(large, "large", replaces=None)
    assert written.bytes == 12 << 20 and "-" in written.etag  # of several parts
    with pytest.raises(AlreadyThere):
        store.put(large, "large", replaces=None)
    with pytest.raises(AlreadyThere):
        store.put(large, "large", replaces='"0"')
    store.get("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()


def test_another_machine_sees_a_baseline_and_downloads_what_it_reads(here: Project, there: Project):
    made = finish(here)
    assert status_of(made) == status_of(BaselinePaths.of(there, KEY))
    (seen,) = finished_runs(there, "dev")
    assert seen.key == KEY and datasets_with_run(there, KEY.run) == ["dev"]
    assert not seen.folder.exists(), "nothing was read"
    assert seen.stamp("sessions.jsonl") == made.stamp("sessions.jsonl")

    assert seen.metrics.read_text() == "metrics.json"
    brought = {path.name for path in seen.folder.rglob("*")}
    assert "manifest.json" in brought and not brought & {"sessions.jsonl", "ledger.jsonl"}
    assert seen.sessions.read_bytes() == made.sessions.read_bytes()
    seen.bring_all()
    manifest = read_manifest(seen)
    assert manifest == read_manifest(made) and "plots/a.svg" in manifest.files
    for name in manifest.files:
        assert (seen.folder / name).read_bytes() == (made.folder / name).read_bytes()
    assert not seen.partial.exists() and not made.partial.exists()


def test_a_baseline_made_again_replaces_the_copies_of_the_old_one(here: Project, there: Project):
    finish(here)
    old = BaselinePaths.of(there, KEY)
    assert len(old.sessions.read_bytes()) == 72
    paths = BaselinePaths.of(here, KEY)
    with copies_of(here).working_on(paths.folder, unless=lambda: False):
        paths.begin(paths.tasks, overwrite=True)
        assert not paths.has_sessions and not paths.finished
    copies_of(there)
    assert status_of(old).state is RunState.PLANNED and not old.sessions.exists()
    again = finish(here, sessions=b"other\n")
    copies_of(there)
    assert old.finished and old.sessions.read_bytes() == b"other\n"
    # Nothing that was paid for is lost, on any machine.
    (aside,) = old.replaced
    assert len((aside / "sessions.jsonl").read_bytes()) == 72
    with copies_of(there).working_on(old.folder, unless=lambda: False):
        old.restore()
    copies_of(here)
    assert len(again.sessions.read_bytes()) == 72 and again.finished


def test_a_run_under_way_goes_on_on_another_machine(here: Project, there: Project):
    begun = BaselinePaths.of(here, KEY)
    with pytest.raises(KeyboardInterrupt), copies_of(here).working_on(begun.folder, unless=lambda: False):
        begin(begun)
        raise KeyboardInterrupt
    other = BaselinePaths.of(there, KEY)
    assert status_of(other).state is RunState.UNDER_WAY
    with copies_of(there).working_on(other.folder, unless=lambda: False):
        assert other.ledger.read_text() == "ledger.jsonl"
        with other.partial.open("ab") as file:
            file.write(b"session\n")
        other.finish()
    copies_of(here)
    assert begun.has_sessions and begun.sessions.read_bytes() == b"session\n" * 2
    assert not begun.partial.exists() and status_of(begun).state is RunState.NOT_SCORED


def test_a_run_is_uploaded_every_few_minutes(
    here: Project, there: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(uploads, "UPLOAD_SECONDS", 0.05)
    paths, uploaded = BaselinePaths.of(here, KEY), threading.Event()
    publish = Artifacts.publish

    def and_tell(self: Artifacts, *arguments: object, **options: object) -> int:
        count = publish(self, *arguments, **options)  # type: ignore[arg-type]
        if count:
            uploaded.set()
        return count

    monkeypatch.setattr(Artifacts, "publish", and_tell)
    with copies_of(here).working_on(paths.folder, unless=lambda: True):  # nothing at the end
        pass
    assert not runs_seen(there)
    with copies_of(here).working_on(paths.folder, unless=lambda: False):
        begin(paths)
        assert uploaded.wait(60)
        assert runs_seen(there) == [RUN]


def runs_seen(project: Project) -> list[str]:
    copies_of(project)
    return [str(paths.key.run) for paths in runs_of(project, "dev")]


def test_two_writers_of_a_run_refuse_each_other(here: Project, there: Project):
    mine, theirs = BaselinePaths.of(here, KEY), BaselinePaths.of(there, KEY)
    with (
        pytest.raises(WrittenElsewhere, match="was written by somebody else meanwhile"),
        copies_of(there).working_on(theirs.folder, unless=lambda: False),
    ):
        finish(here)
        begin(theirs, b"theirs\n")
    copies_of(here)
    assert mine.sessions.read_bytes() == b"session\n" * 9 and mine.finished, "nothing was overwritten"
    assert theirs.partial.read_bytes() == b"theirs\n", "nor lost"


def test_machines_that_share_a_lease_write_files_of_their_own(here: Project, there: Project):
    mine, theirs = BaselinePaths.of(here, KEY), BaselinePaths.of(there, KEY)
    with copies_of(here).working_on(mine.folder, unless=lambda: False, shared=True):
        begin(mine)
        copies_of(here).publish(mine.folder)
        with copies_of(there).working_on(theirs.folder, unless=lambda: False, shared=True):
            (theirs.folder / "shard-2.partial").write_text("2")
        (mine.folder / "shard-1.partial").write_text("1")
    with copies_of(here).working_on(mine.folder, unless=lambda: False):
        assert [(mine.folder / f"shard-{each}.partial").read_text() for each in "12"] == ["1", "2"]
        for each in "12":
            (mine.folder / f"shard-{each}.partial").unlink()
    assert not [name for name in copies_of(there).names(theirs.folder) if "shard" in name]


def test_what_was_written_here_and_elsewhere_is_refused_before_the_work(here: Project, there: Project):
    mine, theirs = finish(here), BaselinePaths.of(there, KEY)
    theirs.bring_all()
    mine.metrics.write_text("mine")
    copies_of(here).publish(mine.folder)
    theirs.metrics.write_text("theirs")
    with (
        pytest.raises(WrittenElsewhere, match=r"metrics\.json was written by somebody else"),
        copies_of(there).working_on(theirs.folder, unless=lambda: False),
    ):
        pytest.fail("the work began")


def test_an_upload_that_was_cut_off_is_done_again(here: Project, there: Project):
    paths, copies = BaselinePaths.of(here, KEY), copies_of(here)
    real = copies.store.put

    def arrive_and_die(source: Path, name: str, *, replaces: str | None) -> object:
        stored = real(source, name, replaces=replaces)
        if name.endswith("tasks.jsonl"):
            raise MemoryError  # as a kill: nothing of ours handles it
        return stored

    with pytest.raises(MemoryError), copies.working_on(paths.folder, unless=lambda: False):
        begin(paths)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(copies.store, "put", arrive_and_die)
            copies.publish(paths.folder)
    paths.tasks.write_text("made again")
    with copies_of(here).working_on(paths.folder, unless=lambda: False):
        pass
    copies_of(there)
    assert BaselinePaths.of(there, KEY).tasks.read_text() == "made again"


def test_a_finished_baseline_that_did_not_reach_the_store_says_so(here: Project):
    paths = finish(here)
    assert not paths.is_only_here and status_of(paths).command is None
    copies_of(here).remove(paths.manifest)
    status = status_of(paths)
    assert (status.state, status.note) == (RunState.FINISHED, "not in the store yet")
    assert status.command == f"crm-assets runs upload dev {RUN}"


def test_keys_are_given_once_over_all_machines(here: Project, there: Project):
    run = RunKey.parse(RUN)
    assert claim_run(here, "dev", run) == run
    copies_of(there)
    assert claim_run(there, "dev", run) == run.next_second()
    assert runs_seen(here) == [RUN, str(run.next_second())]
    release_run(here, KEY)
    assert runs_seen(there) == [str(run.next_second())]


def test_the_identity_is_that_of_the_first_machine(here: Project, there: Project, tmp_path: Path):
    assert known_project_id(there) is None
    first = project_id(here)
    assert known_project_id(there) == first == project_id(there)
    stranger = Project(tmp_path / "stranger")
    stranger.identity.parent.mkdir(parents=True)
    stranger.identity.write_text('{"project": "another"}')
    with pytest.raises(ConfigError, match="belongs to another project"):
        project_id(stranger)


def test_notes_of_two_machines_are_both_kept(here: Project, there: Project):
    mine, theirs = finish(here), BaselinePaths.of(there, KEY)
    add_note(mine, "one", author="Ada")
    stale = stored_artifacts(there)
    assert stale is not None and len(read_notes(theirs).lines) == 1
    add_note(mine, "two", author="Ada")
    add_note(theirs, "three", author="Bob")  # which knows one line alone
    copies_of(here)
    assert [line.text for line in read_notes(mine).lines] == ["one", "two", "three"]


def test_copies_that_were_not_used_for_longest_make_room(
    here: Project, there: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("crm_assets.workspace.store.copies._IN_USE_SECONDS", -1)
    monkeypatch.setenv("CRM_ASSETS_CACHE_GB", "0.0015")
    made = finish(here, sessions=b"x" * (1 << 20))
    with copies_of(here).working_on(made.folder, unless=lambda: False):
        made.ledger.write_bytes(b"y" * (1 << 20))
    seen = BaselinePaths.of(there, KEY)
    assert seen.sessions.stat().st_size == seen.ledger.stat().st_size == 1 << 20
    assert not (seen.folder / "sessions.jsonl").exists(), "the older copy is gone"
    assert seen.sessions.read_bytes() == b"x" * (1 << 20), "and comes again"


def test_datasets_come_from_a_store(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = tmp_path / "dev.jsonl"
    source.write_text("1\n")
    store = ObjectStore(f"{url}/data")
    first = store.put(source, "dev.jsonl", replaces=None)
    monkeypatch.setenv("CRM_ASSETS_DATA", f"{url}/data")
    project = Project(tmp_path / "project")
    assert available_datasets(project) == ["dev"]
    assert require_dataset(project, "dev").read_text() == "1\n"
    source.write_text("2\n")
    store.put(source, "dev.jsonl", replaces=first.etag)
    monkeypatch.setattr("crm_assets.workspace.store.units._FRESH_SECONDS", 0)
    assert require_dataset(project, "dev").read_text() == "2\n"


def test_a_store_that_goes_away_is_waited_for(
    url: str, server: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("crm_assets.workspace.store.objects._FIRST_PAUSE_SECONDS", 0.1)
    file = tmp_path / "file"
    file.write_text("x")
    store, never_asked = ObjectStore(url), ObjectStore(url)
    assert store.find("") == {}
    server.kill()
    back = threading.Timer(0.5, server.start)
    try:
        with pytest.raises(StoreGone, match="does not answer") as gone:
            never_asked.find("")
        assert SECRET_KEY not in str(gone.value)
        back.start()
        assert store.put(file, "file", replaces=None).bytes == 1
    finally:
        back.join()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret")
        with pytest.raises(InfrastructureError, match=r"refuses.*AWS_ACCESS_KEY_ID") as refused:
            ObjectStore(url).find("")
        assert "another-secret" not in str(refused.value)


def test_a_missing_bucket_is_a_sentence(server: Seaweed, url: str, tmp_path: Path) -> None:
    store = ObjectStore("s3://not-there/folder")
    asked: list[Callable[[], object]] = [
        lambda: store.find("a"),
        lambda: store.folders("a"),
        lambda: store.info("a/b"),
        lambda: store.get("a/b", tmp_path / "b"),
    ]
    for ask in asked:
        with pytest.raises(InfrastructureError, match=r"not-there/folder refuses .*check the bucket"):
            ask()
