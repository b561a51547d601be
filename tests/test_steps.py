"""Long work says how far it is, on stderr alone: a bar that goes away on a terminal, else a line now and then."""

import os
import pty
import subprocess
import sys
import time

import pytest

from cnnlab.reporting import steps as module
from cnnlab.reporting.steps import steps
from cnnlab.trained.evaluate import evaluate
from cnnlab.trained.export import export
from cnnlab.trained.lesions import lesion
from cnnlab.trained.robustness import robustness

WORK = """
import time
from cnnlab.reporting.steps import steps
with steps("counting", 2) as step:
    step("one")
    time.sleep(0.3)
    step("two")
    time.sleep(0.3)
print("done")
"""


def test_on_a_terminal_a_bar_names_each_step_and_goes_away():
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-c", WORK], stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    )
    out, _ = done.communicate(timeout=60)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # what Linux says at the end
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert out == b"done\n"
    assert b"counting: one" in shown
    assert b"counting: two" in shown
    assert shown.rstrip().endswith(b"\x1b[2K")  # the line is erased


def test_elsewhere_short_work_is_silent_and_long_work_is_not(capsys, monkeypatch):
    with steps("counting", 2) as step:
        step("one")
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(module, "FIRST_LINE", 0.05)
    with steps("counting", 2) as step:
        step("one")
        step("two")
        time.sleep(0.2)  # lines after 0.05 and 0.15
    out, err = capsys.readouterr()
    assert out == ""
    assert 1 <= len(err.splitlines()) <= 3
    assert err.startswith("counting: two (2 of 2), 0 s so far\n")


def test_what_fails_leaves_no_teller_behind(capsys, monkeypatch):
    monkeypatch.setattr(module, "FIRST_LINE", 0.05)
    with pytest.raises(ValueError, match="broken"), steps("counting", 1):
        raise ValueError("broken")
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("work", ["robustness", "lesions", "export", "inspect"])
def test_the_long_commands_say_what_they_do(digits_run, tmp_path, capsys, monkeypatch, work):
    from cnnlab.inspection.inspect import inspect

    evaluate(digits_run)  # everything is imported
    monkeypatch.setattr(module, "FIRST_LINE", 0.001)
    if work == "robustness":
        robustness(digits_run, ["shift"])
    elif work == "lesions":
        lesion(digits_run, [["conv1"], ["fc3"]], by="zero")
    elif work == "export":
        export(digits_run, tmp_path)
    else:
        inspect(digits_run, {"filters": {"_target_": "cnnlab.inspection.filters.Filters"}})
    out, err = capsys.readouterr()
    assert err.startswith(work)
    assert "s so far" in err
    assert out == ""
