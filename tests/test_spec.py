"""SPEC.md, the code and the tests say the same: each clause that is met is cited where it is obeyed and where it is shown.

What the file says of its own sections is looked at here, too.
"""

import ast
import bisect
import dis
import functools
import io
import re
import tokenize
from collections import Counter
from pathlib import Path
from types import CodeType
from typing import NamedTuple

import streamhttp_mcp

ROOT = Path(__file__).parents[1]
SPEC = (ROOT / "SPEC.md").read_text(encoding="utf-8")
CODE = (ROOT / "streamhttp_mcp.py").read_text(encoding="utf-8")
CITATION = re.compile(r"\[([a-z]+\.[a-z0-9-]+)\]")
LEVELS = {"MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "MAY", "SHAPE", "OURS"}
REVISION = r"20\d\d-\d\d-\d\d"


class Clause(NamedTuple):
    """A row of a table."""

    id: str
    level: str
    asks: str
    context: str  # the revisions, or the clause of another standard
    where: str
    status: str  # 'met', 'gap', ...
    words: str  # after the colon of the status


def read_clauses() -> list[Clause]:
    clauses = []
    for line in SPEC.splitlines():
        if line.startswith("| `"):
            id, level, asks, context, where, status = (cell.strip() for cell in line.strip("|").split("|"))
            status, _, words = status.partition(":")
            clauses.append(Clause(id.strip("`"), level, asks, context, where.strip("`"), status, words.strip()))
    return clauses


CLAUSES = read_clauses()
MET = [clause for clause in CLAUSES if clause.status == "met"]


def citations(source: str) -> list[tuple[int, str]]:
    """(line, id) of each citation in the comments and docstrings of a source; brackets in code are no citations."""
    texts = [
        (token.start[0], token.string)
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    for node in ast.walk(ast.parse(source)):
        documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        if documented and ast.get_docstring(node) is not None:
            first, last = node.body[0].lineno, node.body[0].end_lineno
            texts += enumerate(source.splitlines()[first - 1 : last], first)
    return [(line, id) for line, text in texts for id in CITATION.findall(text)]


def places(source: str) -> dict[str, range]:
    """The lines of each function, method, class and module-level name, with the comment right above: 'Tool.call' -> 9..20."""
    lines, found = source.splitlines(), {}

    def add(name: str, node: ast.stmt) -> None:
        start = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
        while start > 1 and lines[start - 2].lstrip().startswith("#"):
            start -= 1
        found[name] = range(start, (node.end_lineno or start) + 1)

    def walk(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                add(prefix + node.name, node)
            if isinstance(node, ast.ClassDef):
                walk(node.body, f"{node.name}.")
            for target in getattr(node, "targets", [getattr(node, "target", None)]):
                if isinstance(target, ast.Name):
                    add(prefix + target.id, node)
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):  # log.addHandler(...) belongs to `log`
                owner = getattr(node.value.func, "value", None)
                if isinstance(owner, ast.Name) and owner.id in found:
                    found[owner.id] = range(found[owner.id].start, (node.end_lineno or 0) + 1)

    walk(ast.parse(source).body, "")
    return found


@functools.cache
def cited_in_tests() -> set[str]:
    return {id for path in (ROOT / "tests").glob("*.py") for _, id in citations(path.read_text(encoding="utf-8"))}


def names_used() -> dict[str, dict[str, str]]:
    """The names of the module that each section uses, and whose they are: {'2': {'HTTPError': 'Settings'}}.

    The compiled code tells them from local names of the same spelling; hints are not in it.
    """
    banners = list(re.finditer(r"^# ---- (\w+) .*-$", CODE, re.MULTILINE))
    starts = [CODE[: banner.start()].count("\n") + 1 for banner in banners]

    def section(line: int) -> str:
        place = bisect.bisect(starts, line)
        return banners[place - 1][1] if place else ""

    home = {name: section(lines.start) for name, lines in places(CODE).items()}
    used: dict[str, dict[str, str]] = {banner[1]: {} for banner in banners} | {"": {}}

    def walk(code: CodeType) -> None:
        for instruction in dis.get_instructions(code):
            name = instruction.argval
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") and name in home:
                used[section(instruction.positions.lineno)][name] = home[name]
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                walk(constant)

    walk(compile(CODE, "streamhttp_mcp.py", "exec"))
    return used


def test_http_knows_no_mcp_and_json_rpc_knows_no_http():
    """They lean on nothing but themselves and the settings, where each has a kind of refusal of its own."""
    used = names_used()
    for section in ("1", "2", "4"):
        assert {name for name, home in used[section].items() if home not in (section, "Settings")} == set()
    assert "HTTPError" in used["1"] and "HTTPError" not in used["4"]
    assert "RPCError" in used["4"] and "RPCError" not in used["1"] | used["2"]
    assert {"1", "4"} < set(used["5"].values())  # here they meet


def test_demo_uses_the_public_api_only():
    foreign = {name for name, home in names_used()["17"].items() if home != "17"}
    assert foreign - {*streamhttp_mcp.__all__, "__version__"} == set()


def test_what_a_vendored_copy_may_delete_is_used_in_few_places():
    """Section 17 by nobody; two channels and tokens by the routes and the server, where the settings are."""
    used = names_used()
    users = {which: {by for by, names in used.items() if which in names.values()} - {which} for which in ("17", "11", "15")}
    assert users == {"17": set(), "11": {"5", "16"}, "15": {"5", "16"}}


def test_line_one_names_the_revisions():
    revisions = [streamhttp_mcp.TWO_CHANNEL_REVISION, *streamhttp_mcp.REVISIONS]
    assert re.findall(REVISION, SPEC.splitlines()[0]) == revisions


def test_every_id_is_a_name_and_names_one_clause():
    assert len(CLAUSES) == SPEC.count("\n| `") > 200
    assert [clause.id for clause in CLAUSES if not re.fullmatch(r"[a-z]+\.[a-z0-9]+(-[a-z0-9]+)*", clause.id)] == []
    assert [id for id, count in Counter(clause.id for clause in CLAUSES).items() if count > 1] == []


def test_levels_and_statuses_are_known_and_every_row_asks_something():
    assert {clause.level for clause in CLAUSES} <= LEVELS
    assert {clause.status for clause in CLAUSES} <= {"met", "declined", "unused", "gap", "author", "client"}
    assert [clause.id for clause in CLAUSES if not clause.asks] == []


def test_revisions_are_one_or_a_range_and_other_standards_are_linked():
    for clause in CLAUSES:
        if clause.level == "OURS":
            assert clause.context == "all", clause
        elif not re.fullmatch(r"\[[^\]]+\]\(https://[^)]+#[^)]+\)", clause.context):
            assert re.fullmatch(rf"{REVISION}( \.\. {REVISION})?", clause.context), clause
            revisions = clause.context.split(" .. ")
            assert revisions == sorted(set(revisions)), clause


def test_only_what_is_not_a_must_is_declined_and_a_no_has_words():
    for clause in CLAUSES:
        if clause.status in ("declined", "unused"):
            assert clause.level in ("SHOULD", "SHOULD NOT", "MAY", "SHAPE"), clause
        assert bool(clause.words) == (clause.status in ("declined", "unused", "gap")), clause


def test_every_no_and_every_gap_is_told_before_the_tables():
    told = SPEC[: SPEC.index("\n## The clauses")]
    said = [clause.id for clause in CLAUSES if clause.status in ("declined", "unused", "gap")]
    assert [id for id in said if f"`{id}`" not in told] == []
    gaps = told[told.index("## Known gaps") :]
    assert set(re.findall(r"^- `(.+?)`", gaps, re.MULTILINE)) == {c.id for c in CLAUSES if c.status == "gap"}


def test_every_clause_that_is_met_is_cited_where_it_is_obeyed():
    found, cited = places(CODE), citations(CODE)
    assert [(c.id, c.where) for c in CLAUSES if (c.where or c.status == "met") and c.where not in found] == []
    missing = [
        f"[{clause.id}] in {clause.where}"
        for clause in MET
        if not any(id == clause.id and line in found[clause.where] for line, id in cited)
    ]
    assert missing == []


def test_every_clause_that_is_met_is_cited_by_a_test():
    cited = cited_in_tests()
    assert [clause.id for clause in MET if clause.id not in cited] == []


def test_every_citation_names_a_clause():
    known = {clause.id for clause in CLAUSES}
    assert [(line, id) for line, id in citations(CODE) if id not in known] == []
    assert sorted(cited_in_tests() - known) == []


def test_links_of_the_specification_name_a_page_of_its_revision():
    links = re.findall(r"^### \[(.+?)\]\((.+?)\)", SPEC, re.MULTILINE)
    pages = [(name, link) for name, link in links if re.match(REVISION, name)]
    assert len(pages) > 80
    for name, link in pages:
        assert link == f"https://modelcontextprotocol.io/specification/{name}"
