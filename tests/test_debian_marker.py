"""The root conftest: tests that need Debian's tools are run, named as not run, or an error."""

from pathlib import Path

import pytest

pytest_plugins = "pytester"

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"

SUITE = """
import pytest

def test_plain():
    pass

@pytest.mark.debian("sh")
def test_tool_is_there():
    pass

@pytest.mark.debian("no-such-tool", "sh")
def test_tool_is_missing():
    raise RuntimeError("must not run")
"""


@pytest.fixture
def suite(pytester, monkeypatch):
    monkeypatch.delenv("CIMFORGE_REQUIRE_DEBIAN", raising=False)
    pytester.makeconftest(CONFTEST.read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\nmarkers = debian: needs tools\n")
    return pytester


def test_missing_tool_is_named(suite):
    suite.makepyfile(SUITE)
    result = suite.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=2, deselected=1)
    result.stdout.fnmatch_lines([
        "*not run (need `make apt`)*",
        "*::test_tool_is_missing  (missing: no-such-tool)",
        "*2 passed, 1 deselected*",
    ])


def test_missing_tool_is_named_by_the_process_that_starts_workers(suite):
    suite.makepyfile(SUITE)
    result = suite.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2")
    result.assert_outcomes(passed=2)
    lines = [line for line in result.stdout.lines if "(missing: no-such-tool)" in line]
    assert len(lines) == 1


def test_a_file_of_a_package_counts_as_a_tool(suite, tmp_path):
    there, missing = tmp_path / "there.lib", tmp_path / "missing.lib"
    there.write_text("")
    suite.makepyfile(f"""
import pytest

@pytest.mark.debian({str(there)!r})
def test_there(): pass

@pytest.mark.debian({str(missing)!r})
def test_missing(): pass
""")
    result = suite.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.fnmatch_lines(["*::test_missing  (missing: *missing.lib)"])


def test_nothing_is_listed_when_all_tools_are_there(suite):
    suite.makepyfile("import pytest\n@pytest.mark.debian('sh')\ndef test_it(): pass\n")
    result = suite.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*not run*")


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_missing_tool_is_an_error_where_required(suite, monkeypatch, workers):
    monkeypatch.setenv("CIMFORGE_REQUIRE_DEBIAN", "1")
    suite.makepyfile(SUITE)
    result = suite.runpytest_subprocess("-p", "no:cacheprovider", *workers)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*wants no-such-tool on PATH; run `make apt` first*"])


def test_marker_without_tools_is_an_error(suite):
    suite.makepyfile("import pytest\n@pytest.mark.debian\ndef test_it(): pass\n")
    result = suite.runpytest_inprocess("-p", "no:cacheprovider")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*wants tool names, got none*"])
