import pytest
from starlette.testclient import TestClient

from visavis.errors import FileFormatError, UsageError
from visavis.motion.avatar import avatar_names, load_avatar
from visavis.motion.glb import write_glb
from visavis.motion.motion import Motion
from visavis.motion.vrm import read_vrm, write_vrm
from visavis.ui.avatar import avatar_version, avatar_vrm
from visavis.ui.server import build_app


@pytest.mark.parametrize("name", [None, *avatar_names()])
def test_shipped_avatars_are_served_as_vrm(tmp_path, name):
    (tmp_path / "a.vrm").write_bytes(avatar_vrm(name))
    vrm = read_vrm(tmp_path / "a.vrm")
    assert vrm.version == "1.0"
    assert vrm.title == (name or avatar_names()[0])
    assert avatar_vrm(name) is avatar_vrm(name), "made once"


def test_the_users_own_file_is_served_as_it_is(tmp_path, replay):
    path = tmp_path / "mine.vrm"
    write_vrm(load_avatar(), path, name="mine")
    assert avatar_version(path) != avatar_version()
    with TestClient(build_app(replay, path)) as client:
        assert client.get("/visavis/avatar.vrm").content == path.read_bytes()


def test_what_is_no_vrm_is_told_before_anything_is_served(tmp_path, replay):
    with pytest.raises(UsageError, match=r"robin.*neither"):
        build_app(replay, "nobody")
    (tmp_path / "bad.vrm").write_text("no")
    with pytest.raises(FileFormatError, match="bad.vrm"):
        build_app(replay, tmp_path / "bad.vrm")
    write_glb(Motion.rest(1), tmp_path / "plain.glb")
    with pytest.raises(UsageError, match="export it as VRM"):
        build_app(replay, tmp_path / "plain.glb")
