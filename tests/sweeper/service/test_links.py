"""Links to MLflow, asked of a server that answers as MLflow's documentation says."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sweeper.service.links import MlflowLinks


class Experiments(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        known = self.path == "/api/2.0/mlflow/experiments/get-by-name?experiment_name=clip_lambda"
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(json.dumps({"experiment": {"experiment_id": "7"}} if known else {}).encode())

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def mlflow() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Experiments) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_link_leads_to_where_the_service_reaches_mlflow_without_a_password(mlflow: str) -> None:
    links = MlflowLinks(f"http://me:secret@{mlflow}/", None)
    assert links.of("clip_lambda") == f"http://{mlflow}/#/experiments/7"
    assert links.of("unknown") is None


def test_a_link_leads_to_where_browsers_reach_mlflow(mlflow: str) -> None:
    links = MlflowLinks(f"http://{mlflow}", "https://mlflow.example.org/")
    assert links.of("clip_lambda") == "https://mlflow.example.org/#/experiments/7"


@pytest.mark.parametrize("uri", [None, "sqlite:///mlflow.db", "http://127.0.0.1:9"])
def test_without_a_server_there_is_no_link(uri: str | None) -> None:
    assert MlflowLinks(uri, "https://mlflow.example.org").of("clip_lambda") is None
