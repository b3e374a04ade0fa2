"""Hash the code that decides results, so that a run is only resumed by code that decides the same."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import CodeType

__all__ = ["GROUND_TRUTH_CODE", "MODEL_CODE", "SCORING_CODE", "code_fingerprint", "hash_code"]

GROUND_TRUTH_CODE: tuple[str, ...] = (
    "crm",
    "conversations",
    "harness/state.py",
    "harness/ground_truth.py",
)
"""Folders and files that decide what a ground truth is."""

SCORING_CODE: tuple[str, ...] = (*GROUND_TRUTH_CODE, "harness")
"""Those that decide a verdict, too."""

MODEL_CODE: tuple[str, ...] = (
    *SCORING_CODE,
    "agents",
    "atlas",
    "atlas/playbook",
    "atlas/sdk",
    "llm/json_replies.py",
    "llm/messages.py",
    "llm/prompts.py",
    "llm/reading.py",
    "llm/replies.py",
    "offline_models",
)
"""Those that decide what models are asked and how their replies are read, too."""

_ATTRIBUTES = (
    "co_name",
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_flags",
    "co_names",
    "co_varnames",
    "co_freevars",
    "co_cellvars",
    "co_code",
    *(("co_exceptiontable",) if hasattr(CodeType, "co_exceptiontable") else ()),
)
_PACKAGE = Path(__file__).resolve().parent.parent


@cache
def code_fingerprint(code: tuple[str, ...] = GROUND_TRUTH_CODE) -> str:
    """Return the hex SHA-256 of parts of this package."""
    return hash_code(_PACKAGE, code)


def hash_code(package: Path, parts: Sequence[str]) -> str:
    """Return the hex SHA-256 of the compiled modules and SQL files of `parts` (folders without subfolders).

    Comments, docstrings, assertions and layout do not count; Python's minor version does.
    """
    digest = hashlib.sha256()
    for path in sorted({path for part in parts for path in _files(package / part)}):
        name = path.relative_to(package).as_posix()
        digest.update(_hash_file(name, path.read_bytes()))
    return digest.hexdigest()


@cache  # a run asks for several sets of parts that share most files; compiling all takes a quarter second
def _hash_file(name: str, content: bytes) -> bytes:
    if name.endswith(".py"):
        tree = ast.parse(content)
        _drop_texts(tree)
        compiled = compile(tree, name, "exec", dont_inherit=True, optimize=2)
        content = repr(_meaning(compiled)).encode()
    return hashlib.sha256(name.encode() + b"\0" + content).digest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from (each for each in path.iterdir() if each.suffix in (".py", ".sql"))


def _drop_texts(scope: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
    """Remove docstrings and the descriptions of attributes; the compiler leaves a trace of them."""
    scope.body = [
        each
        for each in scope.body
        if not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
    ] or [ast.Pass(lineno=1, col_offset=0)]
    for each in scope.body:
        if isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            _drop_texts(each)


def _meaning(value: object) -> object:
    """Return a code object without its lines, or another constant, in a form that is always the same."""
    if isinstance(value, CodeType):
        constants = [_meaning(each) for each in value.co_consts]
        return [constants, *(getattr(value, name) for name in _ATTRIBUTES)]
    if isinstance(value, tuple):
        return [_meaning(each) for each in value]
    return sorted(map(repr, value)) if isinstance(value, frozenset) else value
