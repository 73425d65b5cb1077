"""Trials that are named on a service, and several sweeps on one plot."""

import json
import logging
from pathlib import Path

import httpx
import pytest
from conftest import Command, Make
from prepared import end, study

from sweeper.api import load
from sweeper.service import audit
from sweeper.service.owners import Owners
from sweeper.service.people import Person, Role
from sweeper.storage.lock import only_driver
from sweeper.study.sweep_study import SweepStudy

TOKENS = {"the-token-of-ann-1": Person("ann", Role.SUBMIT), "the-token-of-bob-1": Person("bob", Role.SUBMIT)}
ANN, BOB = ({"Authorization": f"Bearer {token}"} for token in TOKENS)


def test_the_trial_begins_next_and_is_told_as_here(server: str, command: Command, sweep: SweepStudy) -> None:
    there = ("--server", server)
    with only_driver("clip_lambda", Path("sweeps/clip_lambda"), None):
        told = command("enqueue", "clip_lambda", "method.lambda=0.7", "method.rank=16", *there)
        assert told == (0, "trial-0006 waits, and begins next\n")
    status, told = command("enqueue", "clip_lambda", "method.rank=1", *there)
    resume = f"python -m sweeper resume clip_lambda --server {server}"
    assert (status, told) == (0, f"trial-0007 waits, and begins at: {resume}\n")
    jobs = [sweep.next_trial(), sweep.next_trial()]
    values = [job.space.method.dump() for job in jobs if job]
    assert (values[0]["lambda"], values[0]["rank"], values[1]["rank"]) == (0.7, 16, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["method.rank=3"], "is not among what is searched"),
        (["method.alpha=1"], "method.alpha: is not searched"),
        (["method.rank"], "method.rank"),
        (["method.lambda=.nan"], "method.lambda"),
    ],
)
def test_a_value_that_is_none_is_refused_as_here(
    values: list[str], message: str, server: str, command: Command
) -> None:
    here, there = (command("enqueue", "clip_lambda", *values, *at) for at in ((), ("--server", server)))
    assert here == there and here[0] == 2 and message in here[1]
    assert {trial.state for trial in load("clip_lambda").record.trials} == {"complete", "failed", "running"}


def test_a_finished_sweep_and_one_that_is_not_there_are_told(
    server: str, command: Command, sweep: SweepStudy
) -> None:
    done = study("done", trials=7)
    metrics = {"id_accuracy": 60.0, "forgetting": 2.0, "active_blocks": 2, "epoch": 1}
    done.tell({"key": "trial-0005", "state": "complete", "metrics": metrics, "active": (), "reason": None})
    end(done, 60.0, 2.0, 2)
    here, there = (
        command("enqueue", "done", "method.rank=4", *at) for at in ((), ("--server", server))
    )  # fmt: skip
    assert here[0] == there[0] == 2 and "is finished: ask for more of its trials" in here[1]
    remedy = f"resume done --trials {len(load('done').record.trials) + 1}"
    assert f"{remedy}`" in here[1] and there[1] == here[1].replace(remedy, f"{remedy} --server {server}")
    status, told = command("enqueue", "dome", "method.rank=4", "--server", server)
    assert (status, told) == (2, "there is no sweep 'dome'; did you mean 'done'?\n")
    # What is asked for from now on counts at once.
    done.asked = 9
    assert command("enqueue", "done", "method.rank=4", "--server", server)[0] == 0


def test_only_its_owner_adds_a_trial_and_that_is_written_down(
    service: Make, sweep: SweepStudy, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    Owners(place / "service" / "owners").note("clip_lambda", "ann")
    client, path = service(tokens=TOKENS), "/sweeps/clip_lambda/enqueue"
    audit.LOG.propagate = True
    with caplog.at_level(logging.INFO, logger="sweeper.audit"):
        refused = client.post(path, json={"values": ["method.rank=4"]}, headers=BOB)
        assert refused.status_code == 403 and "is ann's" in refused.json()["detail"]
        assert not caplog.messages
        added = client.post(path, json={"values": ["method.rank=4"]}, headers=ANN)
    assert (added.status_code, added.json()) == (201, {"key": "trial-0006", "running": False})
    line = json.loads(caplog.messages[0])
    assert (line["who"], line["what"], line["sweep"], line["job"]) == ("ann", "enqueue", "clip_lambda", None)
    nothing = client.post(path, headers=ANN)
    assert nothing.status_code == 422 and nothing.json()["detail"].startswith("give values to begin with, of")
    for wrong in ({"values": "x"}, {"value": []}, [], {"values": [1]}):
        assert client.post(path, json=wrong, headers=ANN).status_code == 422


def test_a_trial_is_added_in_a_database_too(service: Make, place: Path) -> None:
    url = f"sqlite:///{place}/studies.db"
    made = study(url=url)
    added = service(storage=url).post("/sweeps/clip_lambda/enqueue", json={"values": ["method.rank=16"]})
    assert added.json()["key"] == "trial-0006"
    job = made.next_trial()
    assert job is not None and (job.key, job.space.method.dump()["rank"]) == ("trial-0006", 16)


def test_several_sweeps_are_on_one_plot(server: str, command: Command, sweep: SweepStudy) -> None:
    study("other")
    status, told = command("report", "clip_lambda", "other", "--server", server)
    address = f"{server}/compared?sweep=clip_lambda&sweep=other"
    assert (status, told) == (0, f"report: {address}\n")
    key = {"Authorization": "Bearer a-long-random-word"}
    page = httpx.get(address, headers=key, timeout=60)
    assert page.status_code == 200 and "clip_lambda and other" in page.text
    assert "sandbox" in page.headers["content-security-policy"]
    assert httpx.get(address, timeout=60).status_code == 401
    assert httpx.get(f"{server}/compared?sweep=other", headers=key, timeout=60).status_code == 422
    assert "there is no sweep 'othr'" in command("report", "other", "othr", "--server", server)[1]
    assert command("report", "clip_lambda", "other", "--to", "x", "--server", server)[0] == 2
