"""Damaged files of every format: a motion or one clear error, soon, in little memory, and nothing unpickled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutations import KINDS, fuzz, good_file, read, wrong_with

HERE = Path(__file__).parent


@pytest.mark.parametrize("kind", KINDS)
def test_good_files_are_good(tmp_path, kind):
    (tmp_path / "good").write_bytes(good_file(kind, tmp_path))
    motion = read(kind, tmp_path / "good")
    assert wrong_with(motion) is None and len(motion) in (1, 5)


@pytest.mark.parametrize("kind", KINDS)
def test_some_damaged_files(kind):
    failures, _, _ = fuzz(kind, 60)
    assert not failures


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KINDS)
def test_many_damaged_files(kind):
    # In a process of its own, so that its memory can be told; 2,000 of them with `make soak`.
    command = [sys.executable, str(HERE / "mutations.py"), kind, os.environ.get("VISAVIS_DAMAGED_FILES", "200"), "1000"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
