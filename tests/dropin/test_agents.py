"""Agents that watch applications, and that ask for mod_wsgi's API: New Relic's and OpenTelemetry's.
Nothing here reaches a network: New Relic's runs in its developer mode.
"""

from __future__ import annotations

import sys

import pytest
from httpdenv import pythons

CONFIGURATION = """
WSGIDaemonProcess newrelic threads=4 python-home=@HOME@
WSGIDaemonProcess otel threads=4 python-home=@HOME@
WSGIScriptAlias /newrelic ${FILES}/newrelic.wsgi process-group=newrelic application-group=%{GLOBAL}
WSGIScriptAlias /otel ${FILES}/otel.wsgi process-group=otel application-group=%{GLOBAL}
"""
NEWRELIC = """
import json, os

os.environ |= {"NEW_RELIC_DEVELOPER_MODE": "true", "NEW_RELIC_LOG": "stderr",
               "NEW_RELIC_LICENSE_KEY": "0123456789" * 4, "NEW_RELIC_LOG_LEVEL": "error"}
import newrelic.agent

newrelic.agent.initialize()
newrelic.agent.register_application(timeout=10.0)

@newrelic.agent.WSGIApplicationWrapper
def application(environ, start_response):
    from newrelic.core.environment import environment_settings
    from newrelic.core.thread_utilization import ThreadUtilizationDataSource

    transaction = newrelic.agent.current_transaction()
    source = ThreadUtilizationDataSource("newrelic")
    source.start()
    body = json.dumps({
        "settings": [list(pair) for pair in environment_settings() if "ispatcher" in pair[0] or "mod_wsgi" in pair[0]],
        "transaction": transaction.name,
        "threads": dict(source())["Instance/Available"],
    }).encode()
    start_response("200 OK", [("Content-Type", "application/json")])
    return [body]
"""
OTEL = """
import json
from opentelemetry import trace
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

spans = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(spans))
trace.set_tracer_provider(provider)

def plain(environ, start_response):
    found = [[span.name, dict(span.attributes)] for span in spans.get_finished_spans()]
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(found, default=str).encode()]

application = OpenTelemetryMiddleware(plain)
"""


@pytest.fixture(scope="module")
def httpd(start):
    # mod_wsgi is built for one Python.
    python = pythons.for_daemons(sys.version_info[:2])
    if python is None:
        pytest.skip("the daemons' user cannot reach the Python that mod_wsgi was built for")
    home = pythons.virtualenv(
        python, "newrelic", "opentelemetry-instrumentation-wsgi", "opentelemetry-sdk"
    )
    return start(
        CONFIGURATION.replace("@HOME@", str(home)),
        files={"newrelic.wsgi": NEWRELIC, "otel.wsgi": OTEL},
    )


def test_new_relic_finds_mod_wsgi_and_its_threads(httpd):
    found = httpd.get("/newrelic").json()
    settings = dict(found["settings"])
    assert settings["Dispatcher"] == "Apache/mod_wsgi (daemon)"
    assert settings["Apache/mod_wsgi Process Group"] == "newrelic"
    assert settings["Apache/mod_wsgi Application Group"] == ""
    assert settings["Dispatcher Version"].startswith("(")
    assert found["threads"] == 4 and found["transaction"] == "/newrelic"


def test_opentelemetry_traces_each_request(httpd):
    httpd.get("/otel/first?a=b")
    [[name, attributes]] = httpd.get("/otel").json()
    assert name.startswith("GET") and attributes["http.method"] == "GET"
    assert attributes["http.status_code"] == 200 and "/otel/first" in str(attributes)
