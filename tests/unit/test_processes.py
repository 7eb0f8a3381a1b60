"""`assay up` leaves no process behind, whatever its children do when they are asked to end."""

import subprocess
import sys

import psutil

from orchestration.processes import end

#: A leader that ends when asked, and its child that does not want to.
STUBBORN = """
import signal, subprocess, sys, time
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True)"
child = subprocess.Popen([sys.executable, "-c", code + "; time.sleep(60)"], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""
#: Says itself that it ends when asked: a process whose parent ignores SIGTERM ignores it too.
PLAIN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_DFL)
print(flush=True)
time.sleep(60)
"""


def start(code):
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, start_new_session=True
    )


def test_a_child_that_does_not_end_is_killed_with_its_group():
    with start(STUBBORN) as stubborn, start(PLAIN) as plain:
        child = psutil.Process(int(stubborn.stdout.readline()))
        plain.stdout.readline()
        end([stubborn, plain], seconds=8)  # a busy machine needs a while for the willing one
        assert stubborn.poll() is not None
        assert plain.poll() == -15
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_what_ended_before_is_no_error():
    with start("pass") as done:
        done.wait()
        end([done])
        assert done.returncode == 0
