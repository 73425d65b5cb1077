"""The winner, as MLflow's pyfunc loads it: code that is kept with the adapter, and no pickle."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from torch.nn.functional import normalize

from trainables.backbones import open_backbone
from trainables.export.adapter import CARD_FILE, load_adapter
from trainables.export.trained import read_card


class Winner(PythonModel):
    """Pixels (N, 3, H, W) from 0 to 255, preprocessed as the model wants them, to a probability a class."""

    def load_context(self, context: PythonModelContext) -> None:
        """Opens the pre-trained model and puts what was trained into it."""
        folder = Path(context.artifacts["adapter"])
        self._card = read_card(folder / CARD_FILE)
        self._given = load_adapter(folder, open_backbone(**self._card["model"]))

    # Of a bare array MLflow makes no schema of its own, and asks for no types either.
    @torch.no_grad()
    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """A frame (N, C), its columns named by the classes."""
        backbone, head = self._given.backbone, self._given.head
        assert head is not None  # every adapter has one
        features = backbone(torch.as_tensor(np.asarray(model_input)))
        if head.bias is None:
            logits = backbone.logit_scale * normalize(features, dim=-1) @ head.weight.T
        else:
            logits = features @ head.weight.T + head.bias
        return pd.DataFrame(logits.softmax(dim=-1).numpy(), columns=self._card["classes"])


set_model(Winner())
