"""What is kept of conversations."""

import time

import pytest
from watching import LONG, raises, until

from visavis.agent.store import open_store
from visavis.errors import ServiceError, UsageError
from visavis.testing import scripted


def test_a_session_is_taken_up_again_with_what_was_heard(store_address):
    with scripted("Hello.", LONG, store=store_address) as agent:
        session = agent.session("anna", user="anna")
        assert agent.session("anna") is session
        session.answer("My name is Anna.")
        with session.events() as events:
            session.submit("Tell me everything.")
            until(events, "response.speech.delta")
            time.sleep(1.5)
            session.interrupt()
            heard = until(events, "response.interrupted")[-1].heard
        history = session.history
    assert history[-1] == ("agent", heard) and heard
    with scripted("Hello again.", store=store_address) as agent:
        session = agent.session("anna", user="anna")
        assert session.history == history
        turn = session.answer("Hi")
        assert turn.events[0].turn_id == "anna-turn-3"
        assert agent.session("other", user="anna").memory.all()[0].text == "Your name is Anna."
        assert agent.session("third", user="bob").memory.all() == []
        assert session.answer("Please forget everything.").text == "I have forgotten everything that you told me."
    with scripted("Hello again.", store=store_address) as agent:
        kept = agent.session("anna", user="anna")
        assert kept.memory.all() == [] and ("user", "My name is Anna.") not in kept.history
        reader = open_store(store_address)
        assert "Anna" not in str(reader.turns("anna"))
        reader.close()


def test_open_conversations_of_one_partner_know_and_forget_together(store_address):
    with scripted("Hello.", store=store_address) as agent:
        home, work = agent.session("home", user="anna"), agent.session("work", user="anna")
        other = agent.session("other", user="bob")
        other.answer("I have a horse.")
        home.answer("My name is Annabel. I have a parrot called Zorro.")
        assert [m.text for m in work.memory.all()][-1] == "You have a parrot called Zorro."
        work.answer("I have a canoe.")
        assert work.answer("Please forget my parrot.").text == "I have forgotten it."
        assert [m.text for m in home.memory.all()] == ["Your name is Annabel.", "You have a canoe."]
        assert home.history == []  # both were told in one line
        home.answer("How are you?")
        assert work.forget() > 0
        assert home.history == [] and home.memory.all() == [] and len(other.memory.all()) == 1
        home.answer("What do you know?")
    reader = open_store(store_address)
    kept = str([reader.turns(name) for name in ("home", "work")]) + str(reader.memories("user:anna"))
    assert not any(word in kept for word in ("Annabel", "Zorro", "canoe", "How are you")) and "What do you" in kept
    reader.close()


def test_by_default_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("VISAVIS_HOME", str(tmp_path / "home"))
    with scripted("Hello.") as agent:
        session = agent.session("x")
        session.answer("My name is Anna.")
        assert session.memory.all()  # while it lasts
    assert not (tmp_path / "home").exists()


def test_a_store_that_fails_is_told_and_the_conversation_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("visavis.agent.journal.AGAIN_S", 0.05)
    store = open_store(tmp_path / "x.sqlite")
    keep = store.put_turn
    with scripted("Hello.", store=store) as agent:
        session = agent.session("x")
        monkeypatch.setattr(store, "put_turn", raises(ServiceError("disk full")))
        with session.events(body=False) as events:
            session.submit("Hi")
            told = until(events, "degraded")[-1]
            until(events, "response.done")
        assert "disk full" in told.what and "memory" in told.stand_in
        monkeypatch.setattr(store, "put_turn", keep)
        session.close()
        assert [t.user for t in store.turns("x")] == ["Hi"]


@pytest.mark.parametrize("bad", ["../x", "a/b", "", "x" * 65])
def test_ids_of_sessions_and_users_are_checked(talker, bad):
    with pytest.raises(UsageError, match="expected a session's id"):
        talker.session(bad)
    with pytest.raises(UsageError, match="expected a user"):
        talker.session("fine", user=bad)
