"""New private files: made and never found, of the mode asked for whatever the process takes away."""

import os
import stat
from pathlib import Path

import pytest

from bridge import files


def test_a_new_file_has_its_content_and_its_mode_also_under_a_strict_umask(tmp_path: Path) -> None:
    before = os.umask(0o377)
    try:
        files.write(tmp_path / "key", b"secret", 0o640)
    finally:
        os.umask(before)
    assert (tmp_path / "key").read_bytes() == b"secret"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o640


@pytest.mark.parametrize("what", ["file", "link", "dangling link"])
def test_what_has_the_name_already_is_left_as_it_is(tmp_path: Path, what: str) -> None:
    path, other = tmp_path / "new", tmp_path / "other"
    if what == "file":
        path.write_bytes(b"old")
    else:
        path.symlink_to(other)
    if what == "link":
        other.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        files.write(path, b"new")
    assert not other.exists() or other.read_bytes() == b"old"
    assert what == "dangling link" or path.read_bytes() == b"old"
