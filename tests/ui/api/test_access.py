import pytest

from visavis.errors import UsageError
from visavis.ui.api.access import Access
from visavis.ui.api.limits import Bucket, Buckets

TOKEN = "abcdefghijklmnop-0123"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {TOKEN}"},
        {"authorization": f"bearer  {TOKEN}"},
        {"sec-websocket-protocol": f"visavis.v1, token.{TOKEN}"},
    ],
)
def test_the_token_opens(headers):
    assert Access(TOKEN).admits(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": TOKEN},
        {"authorization": f"Basic {TOKEN}"},
        {"authorization": f"Bearer {TOKEN[:-1]}"},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": "Bearer "},
        {"authorization": "Bearer \udce9"},
        {"sec-websocket-protocol": TOKEN},
        {"sec-websocket-protocol": "token."},
        {"cookie": f"token={TOKEN}"},
    ],
)
def test_nothing_else_does(headers):
    assert not Access(TOKEN).admits(headers)


def test_origins_are_exact():
    access = Access(TOKEN, ["https://example.org/"])
    own = {"host": "127.0.0.1:7860"}
    assert access.trusts({}) and access.trusts(own | {"origin": "http://127.0.0.1:7860"})
    assert access.trusts(own | {"origin": "https://example.org"})
    for other in (
        "https://example.org.evil.net",
        "http://example.org",
        "null",
        "https://",
        "http://127.0.0.1:1",
        "x" * 999,
    ):
        assert not access.trusts(own | {"origin": other})


def test_misuse_is_told_without_the_token(monkeypatch):
    with pytest.raises(UsageError, match="16 to 200") as error:
        Access("short!")
    assert "short!" not in str(error.value)
    with pytest.raises(UsageError, match="expected an origin"):
        Access(TOKEN, ["example.org"])
    monkeypatch.setenv("VISAVIS_TOKEN", TOKEN)
    assert not Access().made and Access().admits({"authorization": f"Bearer {TOKEN}"})
    monkeypatch.delenv("VISAVIS_TOKEN")
    one, other = Access(), Access()
    assert one.made and one.token != other.token and len(one.token) >= 16


def test_a_bucket_gives_no_more_than_its_rate():
    now = [0.0]
    bucket = Bucket(2.0, 4.0, lambda: now[0])
    assert [bucket.take() for _ in range(4)] == [0.0] * 4
    assert bucket.take() == pytest.approx(0.5)
    now[0] = 10.0
    assert [bucket.take() for _ in range(5)][:4] == [0.0] * 4
    each = Buckets(1.0, 1.0, lambda: now[0])
    assert each.take("a") == 0 and each.take("b") == 0 and each.take("a") > 0
