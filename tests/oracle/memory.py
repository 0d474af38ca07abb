"""Peak memory of a process: what is its own, without pages of files."""

import os
import subprocess
import tempfile
import time
from pathlib import Path


def read_anonymous(pid):
    """Bytes of anonymous memory; 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


def peak_anonymous(*command, period=0.002, until=None, **options):
    """Runs a command: the process, ended, with what it said as `text`, and the largest of
    its samples of anonymous memory. It is killed once `until()` holds."""
    with tempfile.TemporaryFile("w+") as stderr:
        process = subprocess.Popen([str(part) for part in command], stderr=stderr,
                                   **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **options})
        peak = 0
        while process.poll() is None:
            peak = max(peak, read_anonymous(process.pid))
            if until is not None and until():
                process.kill()
                process.wait()
            time.sleep(period)
        stderr.seek(0)
        text = stderr.read()
    process.text = text
    return process, peak


class Limit:
    """A memory cgroup of `bytes`, as a context; false where the system lets none be made."""

    def __init__(self, bytes):
        self.bytes, self.folder = bytes, None

    def __enter__(self):
        for parent, file in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            folder = Path(parent, f"pare-{os.getpid()}")
            try:
                folder.mkdir()
            except OSError:
                continue
            try:
                (folder / file).write_text(str(self.bytes))
            except OSError:
                folder.rmdir()
                continue
            self.folder = folder
            break
        return self

    def __bool__(self):
        return self.folder is not None

    def enter(self):
        """For subprocess's preexec_fn: puts the process in."""
        if self.folder:
            (self.folder / "cgroup.procs").write_text(str(os.getpid()))

    def __exit__(self, *_):
        if self.folder:
            self.folder.rmdir()
