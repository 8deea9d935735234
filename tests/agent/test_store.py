import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visavis.agent.journal import Journal
from visavis.agent.store import Memory, TurnNote, checked_id, open_store
from visavis.agent.store import opening as opening_module
from visavis.errors import StoreError, UsageError


def note(number, user="Hi", said="", state="open"):
    return TurnNote(number, user, said, state, "2026-01-01T00:00:00+00:00")


def memory(id_="m1", text="Your name is Anna.", session="a", turn=1):
    return Memory(id_, "fact", text, "name", session, turn, "2026-01-01T00:00:00+00:00")


def test_what_is_kept_is_there_for_the_next_who_opens(store_address):
    store = open_store(store_address)
    for number in (2, 1, 3):
        store.put_turn("a", "user:x", note(number))
    store.put_turn("a", "user:x", note(2, "Again", "Hello \N{SNOWMAN} '; DROP TABLE visavis_turns", "cut"))
    store.put_turn("b", "user:y", note(1))
    store.put_memory("user:x", memory())
    store.put_memory("user:x", memory("m2", "You have a dog."))
    store.close()
    store = open_store(store_address)
    turns = store.turns("a")
    assert [t.number for t in turns] == [1, 2, 3]
    assert turns[1] == note(2, "Again", "Hello \N{SNOWMAN} '; DROP TABLE visavis_turns", "cut")
    assert [t.number for t in store.turns("a", most=2)] == [2, 3] and store.turns("unknown") == []
    assert [(s.id, s.owner, s.turns) for s in store.sessions("user:x")] == [("a", "user:x", 3)]
    assert {s.id for s in store.sessions()} == {"a", "b"}
    assert [m.id for m in store.memories("user:x")] == ["m1", "m2"] and store.memories("user:y") == []
    store.close()


def test_what_is_dropped_is_gone(store_address):
    store = open_store(store_address)
    for number in (1, 2, 3):
        store.put_turn("a", "o", note(number, f"secret {number}"))
    store.put_memory("o", memory("m1"))
    store.put_memory("o", memory("m2"))
    store.drop_turns("a", [2])
    assert [t.number for t in store.turns("a")] == [1, 3]
    store.drop_memories("o", ["m1"])
    assert [m.id for m in store.memories("o")] == ["m2"]
    store.drop_turns("a")
    store.drop_memories("o")
    assert store.turns("a") == [] == store.memories("o")
    store.close()


def test_nothing_of_what_is_forgotten_stays_in_the_file(tmp_path):
    store = open_store(tmp_path / "x.sqlite")
    store.put_turn("a", "o", note(1, "XYZZY"))
    store.put_memory("o", memory(text="XYZZY"))
    assert any(b"XYZZY" in path.read_bytes() for path in tmp_path.iterdir())
    store.drop_turns("a")
    store.drop_memories("o")
    assert not any(b"XYZZY" in path.read_bytes() for path in tmp_path.iterdir())
    store.close()


def test_the_file_is_this_users_alone(tmp_path):
    path = tmp_path / "deep" / "x.sqlite"
    open_store(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_default_file_is_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("VISAVIS_HOME", str(tmp_path / "home"))
    open_store(True).close()
    assert (tmp_path / "home" / opening_module.FILE).exists()
    assert open_store(None) is None and open_store(False) is None


def test_what_is_no_store_is_told_in_one_line(tmp_path):
    (tmp_path / "text").write_text("this is no database, but long enough to be looked at as one " * 20)
    (tmp_path / "dir").mkdir()
    for wrong in (tmp_path / "text", tmp_path / "dir", tmp_path / "text" / "below"):
        with pytest.raises(StoreError, match="expected a (database|file).*"):
            open_store(wrong)
    with pytest.raises(UsageError, match="expected a file or postgresql://"):
        open_store("mysql://x/y")
    with pytest.raises(UsageError):
        open_store(" ")
    newer = sqlite3.connect(tmp_path / "newer")
    newer.execute("CREATE TABLE visavis_version (version INTEGER)")
    newer.execute("INSERT INTO visavis_version VALUES (99)")
    newer.commit()
    newer.close()
    with pytest.raises(StoreError, match="update visavis"):
        open_store(tmp_path / "newer")


def test_a_password_is_never_shown():
    pytest.importorskip("psycopg")
    with pytest.raises(StoreError) as failed:
        open_store("postgresql://me:hunter2@127.0.0.1:1/none")
    assert "hunter2" not in str(failed.value) and "is it running" in str(failed.value)


@pytest.mark.parametrize("good", ["a", "session-1", "Anna_2.b", "0" * 64])
def test_ids_are_names(good):
    assert checked_id(good) == good


@given(st.one_of(st.text(max_size=80), st.none(), st.integers()))
def test_other_ids_are_refused(value):
    if isinstance(value, str) and value and len(value) <= 64 and value.isascii() and value.isalnum():
        return
    try:
        name = checked_id(value)
    except UsageError as error:
        assert "expected a session's id" in str(error)
    else:
        assert "/" not in name and ".." not in name and name[0].isalnum()


@pytest.mark.parametrize("bad", ["../x", "a/b", "a\\b", "", ".hidden", "a..b", "x" * 65, "a\n", "a\x00", "é"])
def test_paths_are_no_ids(bad):
    with pytest.raises(UsageError):
        checked_id(bad)


class Failing:
    """A store that can be made to fail."""

    def __init__(self):
        self.broken, self.turns_kept, self.calls = False, {}, 0

    def put_turn(self, session, owner, kept):
        self.calls += 1
        if self.broken:
            raise StoreError("no room")
        self.turns_kept[session, kept.number] = kept

    def close(self):
        pass


def put(journal, number, said):
    kept = note(number, said=said)
    journal.put(("turn", number), lambda store: store.put_turn("a", "o", kept))


def test_a_journal_writes_the_newest_and_survives_failures(monkeypatch):
    monkeypatch.setattr("visavis.agent.journal.AGAIN_S", 0.05)
    store, told = Failing(), []
    journal = Journal(store)
    journal.listen(told.append)
    put(journal, 1, "one")
    assert journal.flush()
    store.broken = True
    for said in ("two", "three", "four"):
        put(journal, 1, said)
        put(journal, 2, said)
        time.sleep(0.02)
    assert not journal.flush(0.1) and journal.trouble == "no room" and told == ["no room"]
    store.broken = False
    assert journal.flush(2)
    assert told == ["no room", ""]
    assert {n: kept.said for (_, n), kept in store.turns_kept.items()} == {1: "four", 2: "four"}
    journal.close()
    assert not any(thread.name == "visavis-journal" for thread in threading.enumerate())
    put(journal, 3, "too late")  # is dropped, not an error


def test_a_locked_database_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("visavis.agent.store.sqlite.BUSY_S", 0.05)
    monkeypatch.setattr("visavis.agent.journal.AGAIN_S", 0.05)
    store = open_store(tmp_path / "x.sqlite")
    other = sqlite3.connect(tmp_path / "x.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal = Journal(store)
    put(journal, 1, "kept")
    assert not journal.flush(0.3) and "locked" in journal.trouble
    other.execute("ROLLBACK")
    other.close()
    assert journal.flush(3) and store.turns("a")[0].said == "kept"
    journal.close()


KILLED = """
import os, signal, sys
from visavis.agent.journal import Journal
from visavis.agent.store import TurnNote, open_store
journal = Journal(open_store(sys.argv[1]))
for k in range(1, 51):
    note = TurnNote(k, f"line {k}", f"heard {k}", "done", "2026-01-01T00:00:00+00:00")
    journal.put(("turn", k), lambda store, note=note: store.put_turn("s", "o", note))
journal.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_written_survives_kill_9(store_address):
    done = subprocess.run([sys.executable, "-c", KILLED, store_address], env=os.environ, timeout=60)
    assert done.returncode == -9
    store = open_store(store_address)
    assert [t.said for t in store.turns("s")] == [f"heard {k}" for k in range(1, 51)]
    store.close()
