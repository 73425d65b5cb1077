"""The service keeps to its own OpenAPI document, whatever it is sent."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from prepared import study
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from sweeper.service.app import create_app
from sweeper.service.settings import Settings

HEADERS = {"Authorization": "Bearer a-long-random-word"}
CONFORMANCE = [
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
few = settings(max_examples=15, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_answer_is_as_documented(mode: GenerationMode) -> None:
    study()
    app = create_app(Settings(token="a-long-random-word", rate=1e6))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    asked = set()
    for found in schema.get_all_operations():
        operation = found.ok()

        @few
        @given(case=operation.as_strategy(generation_mode=mode))
        def check(case: schemathesis.Case) -> None:
            answer = case.call(headers=HEADERS)
            asked.add((case.operation.label, answer.status_code))
            # No Ray runs here, so what needs it is refused with 503; nothing else may be a server's error.
            without_ray = answer.status_code == 503 and b"no Ray cluster answers" in answer.content
            checks = CONFORMANCE if without_ray else [*CONFORMANCE, not_a_server_error]
            case.validate_response(answer, checks=checks, headers=HEADERS)

        if mode is GenerationMode.POSITIVE or operation.path_parameters or operation.body:
            check()
    assert len({label for label, _ in asked}) >= 8


def test_known_sweeps_are_as_documented() -> None:
    """What a random name never reaches: every way to look at a sweep that there is."""
    study()
    app = create_app(Settings(token="a-long-random-word"))
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    for path in ("", "/front", "/report", "/trials.csv", "/report/{file}"):
        operation = schema[f"/sweeps/{{name}}{path}"]["GET"]
        case = operation.Case(path_parameters={"name": "clip_lambda", "file": "front.json"})
        answer = case.call(headers=HEADERS)
        assert answer.status_code == 200
        case.validate_response(answer, checks=CONFORMANCE, headers=HEADERS)


def test_several_sweeps_and_models_that_are_not_there_are_as_documented() -> None:
    for name in ("one", "two"):
        study(name)
    schema = schemathesis.openapi.from_asgi("/openapi.json", create_app(Settings(token="a-long-random-word")))
    for path, query, status in (
        ("/compared", {"sweep": ["one", "two"]}, 200),
        ("/sweeps/{name}/export", {"format": "merged", "trial": "17"}, 404),
        ("/sweeps/{name}/export", {"format": "merged", "trial": "0", "blocks": "x"}, 422),
    ):
        case = schema[path]["GET"].Case(path_parameters={"name": "one"}, query=query)
        answer = case.call(headers=HEADERS)
        assert answer.status_code == status
        case.validate_response(answer, checks=CONFORMANCE, headers=HEADERS)
