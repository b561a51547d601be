"""What a run does not let out, and what it does not let in."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from children import forked
from lightning.pytorch import Callback

import cnnlab

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
LISTENING = "0A"  # of /proc/net/tcp


def listening_sockets() -> set[str]:
    """Inodes of the sockets on which this process listens."""
    links = [str(f.readlink()) for f in Path("/proc/self/fd").iterdir() if f.is_symlink()]
    mine = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
    rows = [line.split() for p in ("tcp", "tcp6") for line in Path(f"/proc/self/net/{p}").read_text().splitlines()[1:]]
    return mine & {row[9] for row in rows if row[3] == LISTENING}


class Sockets(Callback):
    """Looks while it trains."""

    seen: list[set[str]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(listening_sockets())


def test_a_run_on_one_process_listens_on_no_socket(tmp_path):
    import socket

    before = listening_sockets()
    quick = ["trainer=cpu", "trainer.max_epochs=1", "model=softmax", f"output_dir={tmp_path}"]
    cnnlab.fit([*quick, "+callbacks.sockets._target_=test_leaks.Sockets"])
    assert Sockets.seen
    assert all(seen == before for seen in Sockets.seen)
    with socket.create_server(("127.0.0.1", 0)):
        assert len(listening_sockets()) == len(before) + 1  # the test would notice


def test_a_secret_of_the_environment_is_in_no_file_of_a_run(tmp_path):
    secret = "s3cr3t-of-the-environment"
    secrets = {"WANDB_API_KEY": secret, "AWS_SECRET_ACCESS_KEY": secret}
    done = forked("train", "trainer.max_epochs=1", "callbacks=inspect", cwd=tmp_path, **secrets)
    assert done.returncode == 0, done.stderr
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(files) > 10
    for path in files:
        content = path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                content = b"".join(archive.read(name) for name in archive.namelist())
        assert secret.encode() not in content, path


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_memory_stays_flat_over_sixty_jobs_of_a_sweep(tmp_path):
    """In a process of its own, where a sweep's jobs run one after the other."""
    code = (
        "import gc, sys; sys.path.insert(0, sys.argv[2])\n"
        "import cnnlab; from test_leaks import resident\n"
        "sizes = []\n"
        "for seed in range(60):\n"
        "    cnnlab.fit(['data=xo', 'model=mlp', 'data.train_size=64', 'data.test_size=64', 'trainer=cpu',\n"
        "                'trainer.max_epochs=1', 'study.variant=x', f'seed={seed}', f'output_dir={sys.argv[1]}'])\n"
        "    if seed % 30 >= 20: gc.collect(); sizes.append(resident())\n"
        "print(*sizes)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    sizes = [int(n) for n in done.stdout.splitlines()[-1].split()]
    assert len(sizes) == 20
    grown = (sum(sizes[10:]) - sum(sizes[:10])) / 10  # from jobs 20 to 29, when caches are warm, to jobs 50 to 59
    assert grown < 20 * 2**20, f"{grown / 2**20:.0f} MiB over 30 jobs"


def test_every_locked_package_has_hashes_and_no_host():
    lock = (ROOT / "requirements.lock").read_text()
    packages = [part for part in lock.replace("\\\n", " ").splitlines() if part.strip() and part[0] not in " #"]
    assert len(packages) > 50
    for package in packages:
        assert "==" in package
        assert "--hash=sha256:" in package, package
    assert "://" not in lock


def test_a_wheel_that_was_tampered_with_is_not_installed(tmp_path):
    wheel = tmp_path / "harmless-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("harmless.py", "")
        archive.writestr("harmless-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: harmless\nVersion: 1.0\n")
        archive.writestr(
            "harmless-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("harmless-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (tmp_path / "lock").write_text(f"harmless==1.0 --hash=sha256:{digest}\n")
    command = [sys.executable, "-m", "uv", "pip", "install", "--offline", "--no-index", f"--find-links={tmp_path}"]
    command += ["--no-cache", "--require-hashes", "-r", str(tmp_path / "lock"), "--target"]
    whole = subprocess.run([*command, str(tmp_path / "a")], capture_output=True, text=True)
    assert whole.returncode == 0, whole.stderr
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("evil.py", "")
    tampered = subprocess.run([*command, str(tmp_path / "b")], capture_output=True, text=True)
    assert tampered.returncode != 0
    assert "ash" in tampered.stderr
    assert not (tmp_path / "b/harmless.py").exists()
