"""The official conformance suite against tests/everything_server.py."""

# INFO is a line of the suite's traffic log, or a note that a check does not apply: no verdict.
GOOD = {"SUCCESS", "INFO"}

# An extension that we do not have; the suite runs its scenarios without scoring them.
TASKS = {
    "tasks-capability-negotiation",
    "tasks-dispatch-and-envelope",
    "tasks-lifecycle",
    "tasks-mrtr-composition",
    "tasks-mrtr-input",
    "tasks-request-headers",
    "tasks-request-state-removal",
    "tasks-required-task-error",
    "tasks-status-notifications",
    "tasks-wire-fields",
}


def test_official_suite_passes_2025_11_25_with_no_warning(conformance, everything):
    """The frozen list of the revision, and what the suite runs beside it without scoring."""
    checks = conformance(everything, "--requirements", "2025-11-25")
    assert [check for check in checks if check.status not in GOOD] == []

    not_scored = {"server-session-lifecycle", "json-schema-2020-12", "server-sse-polling"}
    scenarios = {check.scenario for check in checks}
    assert not_scored < scenarios and len(scenarios) == 30 + len(not_scored)

    # These are INFO, not WARNING, in a server that issues no session id or answers too early.
    passed = {check.id for check in checks if check.status == "SUCCESS"}
    assert {"server-session-terminated-returns-404", "server-sse-disconnect-resume"} <= passed


def test_official_suite_passes_2026_07_28_with_no_warning(conformance, everything):
    """The frozen list, and what is pending: header validation, custom headers, JSON Schema. Only tasks may fail."""
    checks = conformance(everything, "--requirements", "2026-07-28")
    assert [check for check in checks if check.status not in GOOD and check.scenario not in TASKS] == []
    assert {check.status for check in checks if check.id == "wire-schema-valid"} == {"SUCCESS"}  # there, too

    not_scored = {"http-header-validation", "http-custom-header-server-validation", "json-schema-2020-12"} | TASKS
    scenarios = {check.scenario for check in checks}
    assert not_scored < scenarios and len(scenarios) == 37 + len(not_scored)

    # This is SKIPPED, and so above, in a server that declares no `listChanged`.
    passed = {check.id for check in checks if check.status == "SUCCESS"}
    assert "sep-2575-server-sends-prompts-list-changed-on-subscription" in passed


def test_official_suite_0_1_16_passes(conformance, everything):
    """The last release before 2026-07-28, which many servers' CI still runs; session revisions only."""
    checks = conformance(everything, "--suite", "all", script="MCP_PEER_CONFORMANCE_OLD")
    assert [check for check in checks if check.status not in GOOD] == []
    assert len({check.scenario for check in checks}) == 32
