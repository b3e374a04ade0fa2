"""The server: Inspect's viewer of static files, one for each dataset, and the logs that it reads.

Inspect's own server takes seconds to start and shows a log when all of it is there.
"""

from __future__ import annotations

import asyncio
import html
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from aiohttp import web

from crm_assets.errors import CrmAssetsError
from crm_assets.exports.inspect_package import viewer_files
from crm_assets.exports.viewer.logs import LogStore, ShownRun
from crm_assets.workspace.baseline_files import BaselinePaths, finished_runs
from crm_assets.workspace.datasets import available_datasets
from crm_assets.workspace.keys import BaselineKey
from crm_assets.workspace.project import Project
from crm_assets.workspace.transcripts import VIEW_HOST, transcripts_path, viewer_place

__all__ = ["serve"]

_RELOAD: Final = Path(__file__).with_name("reload.js")
_NAMES: Final = frozenset({VIEW_HOST, "localhost"})
Handler = Callable[[web.Request], object]


async def serve(
    project: Project,
    runs: Iterable[ShownRun],
    *,
    port: int,
    say: Callable[[str], None],
    on_start: Callable[[str], object],
) -> None:
    """Serve the viewer on loopback until the task is cancelled.

    Args:
        project: whose runs are shown.
        runs: those that are listed from the start; others are when a link leads to them.
        port: to listen on.
        say: called with a line for the user.
        on_start: called with the server's address when it listens.

    Raises:
        InputError: Inspect is not installed, or a run cannot be read.
        OSError: the port is in use.
    """
    pages = _Pages(project, runs, LogStore(project, say))
    runner = web.AppRunner(pages.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, VIEW_HOST, port).start()
        on_start(f"http://{VIEW_HOST}:{port}")
        await pages.prepare()
        await asyncio.Event().wait()
    finally:
        await pages.logs.close()
        await runner.cleanup()


class _Pages:
    def __init__(self, project: Project, runs: Iterable[ShownRun], logs: LogStore) -> None:
        self._project = project
        self.logs = logs
        self._viewer = viewer_files()
        self._index = _index(self._viewer)
        self._policy = _policy(self._viewer)
        self._runs = {(run.paths.key.dataset, run.log): run for run in runs}

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._home)
        app.router.add_get("/{dataset}", self._to_folder)
        app.router.add_get("/{dataset}/", self._page)
        app.router.add_get("/{dataset}/reload.js", self._reload)
        app.router.add_get("/{dataset}/assets/{file}", self._asset)
        app.router.add_get("/{dataset}/logs/listing.json", self._listing)
        app.router.add_get("/{dataset}/logs/{log}", self._log)
        app.router.add_get("/{dataset}/state/{log}", self._state)
        app.router.add_get("/{dataset}/{run}", self._open)
        app.router.add_get("/{dataset}/{run}/{conversation}", self._open)
        return app

    async def prepare(self) -> None:
        """Begin with the logs that are listed from the start."""
        for run in tuple(self._runs.values()):
            await self.logs.ensure(run)

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer only those who ask for this machine, and with a sentence where something is wrong."""
        if request.host.rpartition(":")[0] not in _NAMES and request.host not in _NAMES:
            raise web.HTTPForbidden(text="This server answers to 127.0.0.1 only.")
        try:
            response = await handler(request)  # type: ignore[misc]
        except CrmAssetsError as error:
            response = web.Response(status=404, text=str(error))
        assert isinstance(response, web.StreamResponse)
        return response

    async def _home(self, request: web.Request) -> web.Response:
        datasets = sorted({dataset for dataset, _ in self._runs})
        if len(datasets) == 1:
            raise web.HTTPFound(f"/{datasets[0]}/")
        return web.Response(text=_home_page(self._project), content_type="text/html")

    async def _to_folder(self, request: web.Request) -> web.Response:
        raise web.HTTPFound(f"/{quote(request.match_info['dataset'])}/")

    async def _page(self, request: web.Request) -> web.Response:
        headers = {"Content-Security-Policy": self._policy} if self._policy else {}
        return web.Response(text=self._index, content_type="text/html", headers=headers)

    async def _reload(self, request: web.Request) -> web.FileResponse:
        return web.FileResponse(_RELOAD, headers={"Content-Type": "text/javascript"})

    async def _asset(self, request: web.Request) -> web.FileResponse:
        file = self._viewer / "assets" / request.match_info["file"]
        if file.parent != self._viewer / "assets" or not file.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(file)

    async def _listing(self, request: web.Request) -> web.Response:
        dataset = request.match_info["dataset"]
        listed = {run.log: _overview(run) for (of, _), run in self._runs.items() if of == dataset}
        return web.json_response(listed)

    async def _log(self, request: web.Request) -> web.FileResponse:
        run = self._shown(request)
        file = self.logs.current(run)
        if file is None:
            await self.logs.ensure(run)
            file = self.logs.current(run)
        assert file is not None  # as it was made
        return web.FileResponse(file, headers={"Cache-Control": "no-cache"})

    async def _state(self, request: web.Request) -> web.Response:
        return web.json_response({"complete": self.logs.complete(self._shown(request))})

    def _shown(self, request: web.Request) -> ShownRun:
        run = self._runs.get((request.match_info["dataset"], request.match_info["log"]))
        if run is None:
            raise web.HTTPNotFound
        return run

    async def _open(self, request: web.Request) -> web.Response:
        """Lead to a run, or to one of its conversations, in the viewer."""
        parts = request.match_info
        key = BaselineKey.of(parts["dataset"], parts["run"])
        paths = BaselinePaths.of(self._project, key)
        if not paths.finished:
            text = f"{self._project.root} has no finished run {key.run} of {key.dataset}."
            raise web.HTTPNotFound(text=text)
        run = ShownRun(paths)
        self._runs.setdefault((key.dataset, run.log), run)
        conversation = parts.get("conversation")
        await self.logs.ensure(run, wanted=conversation)
        epoch = quote(request.query.get("epoch", "1"))
        raise web.HTTPFound(f"/{key.dataset}/{viewer_place(run.log, conversation, epoch)}")


def _index(viewer: Path) -> str:
    """Return the viewer's page, told that its logs are beside it."""
    page = (viewer / "index.html").read_text(encoding="utf-8")
    context = json.dumps({"log_dir": "logs"})
    told = f'<script id="log_dir_context" type="application/json">{context}</script>'
    return page.replace("</head>", f'{told}<script src="./reload.js"></script></head>', 1)


def _policy(viewer: Path) -> str:
    """Return the policy that the viewer comes with; empty where it comes with none."""
    file = viewer / "content-security-policy.json"
    if not file.is_file():
        return ""
    directives = json.loads(file.read_text(encoding="utf-8"))["directives"]
    parts = [" ".join((name, *sources)) for name, sources in directives.items()]
    return "; ".join((*parts, "frame-ancestors 'none'"))


def _overview(run: ShownRun) -> dict[str, object]:
    """Return what the viewer's list of logs says of a run before it has looked into the log."""
    from crm_assets.records import SessionLog  # noqa: PLC0415  (heavy, and the page comes first)

    key = run.paths.key
    header = SessionLog(run.paths.sessions).header
    name = f"{key.dataset}/{key.run}"
    return {
        "eval_id": name,
        "run_id": str(key.run),
        "task": key.dataset,
        "task_id": name,
        "task_version": (header.dataset_revision or "unknown")[:12],
        "version": 2,
        "status": "success",
        "model": (header.agent or {}).get("model") or f"none/{header.agent_name or 'unnamed'}",
        "started_at": key.run.started.isoformat(),
        "completed_at": "",
    }


def _home_page(project: Project) -> str:
    """Return a page of links to every finished run."""
    lists = []
    for dataset in available_datasets(project):
        keys = [paths.key for paths in finished_runs(project, dataset)]
        links = "".join(
            f'<li><a href="{transcripts_path(key)}">{html.escape(str(key.run))}</a>' for key in keys
        )
        lists.append(f"<h2>{html.escape(dataset)}</h2><ul>{links or '<li>no finished run'}</ul>")
    body = "".join(lists) or "<p>No datasets."
    return f"<!doctype html><meta charset=utf-8><title>Transcripts</title><h1>Transcripts</h1>{body}"
