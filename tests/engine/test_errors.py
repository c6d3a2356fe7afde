"""Test messages of the error tree as users read them."""

from __future__ import annotations

from tasks.engine.contract.errors import HeadraceError, InvalidInput, Problem, RunUnfinished


def test_problem_states_place_given_and_allowed() -> None:
    assert str(Problem("--retries", "-1", "0 or more")) == "--retries: -1; allowed: 0 or more"


def test_problem_ends_with_advice_if_it_has_any() -> None:
    problem = Problem("row 2, path", "a.mp4", "files inside data", "move the file there")
    assert str(problem) == "row 2, path: a.mp4; allowed: files inside data; move the file there"


def test_invalid_input_lists_every_problem_on_its_own_line() -> None:
    problems = [Problem("--a", "1", "2"), Problem("--b", "3", "4", "omit it")]
    error = InvalidInput(problems)
    assert error.problems == tuple(problems)
    assert error.args == (problems,)
    assert str(error) == "--a: 1; allowed: 2\n--b: 3; allowed: 4; omit it"


def test_unfinished_run_has_message_and_exit_code() -> None:
    error = RunUnfinished("3 of 4 items failed", 3)
    assert (str(error), error.exit_code) == ("3 of 4 items failed", 3)


def test_message_with_line_break_stays_on_one_line() -> None:
    assert "\n" not in str(HeadraceError("cannot read a\nb"))
    assert "\n" not in str(Problem("row 1", "a\nb", "names without line breaks"))
