"""The notebook of the documents, run as Jupyter runs it."""

from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient
from workplace import REPOSITORY

pytestmark = pytest.mark.slow


def test_the_first_sweep_ends_with_a_front_a_plot_and_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_ADDRESS", "SWEEPER_STORAGE", "SWEEPER_RESULTS", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(REPOSITORY / "docs" / "first_sweep.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # they would hold paths of a machine
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    shown = {kind for output in outputs for kind in output.get("data", ())}
    assert {"text/html", "application/vnd.plotly.v1+json"} <= shown
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    trials = pd.read_csv(tmp_path / "sweeps" / "first" / "report" / "trials.csv")
    assert list(trials.query("role == 'trial'").active_blocks) == [2, 2, 2, 2]
    assert (tmp_path / "winner" / "model.safetensors").exists()
