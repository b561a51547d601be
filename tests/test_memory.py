"""Freed memory stays with the process."""

import platform
import subprocess
import sys

import pytest

from cnnlab.device import keep_freed

pytestmark = pytest.mark.slow

# blocks of 64 MiB: above 32 MiB malloc gives back at once, below it depends on what else was asked for
LOOP = """
import resource, torch
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
before = faults()
{keep}
for _ in range(10): faults()
print(before, faults())
"""
KEEP = {
    "by itself": "from cnnlab.device import keep_freed; keep_freed()",
    "in a fit": "import cnnlab; cnnlab.fit(['model=softmax', 'trainer.max_epochs=1', 'output_dir={folder}'])",
}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="what glibc's malloc does")
@pytest.mark.parametrize("how", KEEP)
def test_the_kernel_is_not_asked_for_the_same_memory_again(how, tmp_path):
    script = LOOP.format(keep=KEEP[how].format(folder=tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split()[-2:])
    assert before > 3 * 1000
    assert after < 100


def test_an_older_glibc_is_asked_for_what_it_takes(monkeypatch):
    asked = []

    class OlderGlibc:
        def mallopt(self, option, value):
            asked.append((option, value))
            return int(value <= 2**25)

    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("ctypes.CDLL", lambda name: OlderGlibc())
    keep_freed()
    assert asked == [(-3, 2**30), (-3, 2**25), (-1, -1)]
