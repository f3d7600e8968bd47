"""The official conformance suite against tests/everything_server.py."""

# INFO is a line of the suite's traffic log, or a note that a check does not apply: no verdict.
GOOD = {"SUCCESS", "INFO"}


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


def test_official_suite_0_1_16_passes(conformance, everything):
    """The last release before 2026-07-28, which many servers' CI still runs; session revisions only."""
    checks = conformance(everything, "--suite", "all", script="MCP_PEER_CONFORMANCE_OLD")
    assert [check for check in checks if check.status not in GOOD] == []
    assert len({check.scenario for check in checks}) == 32
