"""OpenTelemetry for `visavis serve --trace`: spans of turns and stages go where `OTEL_EXPORTER_OTLP_ENDPOINT` says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from visavis.agent.spans import trace_with
from visavis.errors import MissingExtraError

__all__ = ["start_tracing"]


def start_tracing(exporter: Any = None) -> Callable[[], None]:
    """Trace from now on; call the result to send what is left and end it.

    Args:
        exporter: where spans go; OTLP over HTTP, set up by OpenTelemetry's own environment variables, by default.
    Raises:
        MissingExtraError: OpenTelemetry's SDK is not installed.
    """
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        if exporter is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter()
    except ImportError as error:
        raise MissingExtraError("tracing", "scale") from error
    provider = TracerProvider(resource=Resource.create({"service.name": "visavis"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace_with(provider.get_tracer("visavis"))

    def stop() -> None:
        trace_with(None)
        provider.shutdown()

    return stop
