import pytest

from visavis.ui.api.tracing import start_tracing

memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")


def test_a_turn_is_one_span_with_its_stages_inside_and_nothing_that_was_said(agent):
    exporter = memory.InMemorySpanExporter()
    stop = start_tracing(exporter)
    try:
        agent.say("A secret sentence.")
    finally:
        stop()
    spans = exporter.get_finished_spans()
    (turn,) = [one for one in spans if one.name == "visavis.turn"]
    stages = [one for one in spans if one is not turn]
    assert {"visavis.act", "visavis.speak", "visavis.move"} <= {one.name for one in stages}
    assert all(one.context.trace_id == turn.context.trace_id for one in stages)
    assert "secret" not in "".join(one.to_json() for one in spans)
    agent.say("Nobody sees this.")
    assert len(exporter.get_finished_spans()) == len(spans)
