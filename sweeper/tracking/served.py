"""The winner, as MLflow's pyfunc loads it: code that is kept with the adapter, and no pickle."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext

from trainables.export import Classifier


class Winner(PythonModel):
    """Pictures to a probability a class."""

    def load_context(self, context: PythonModelContext) -> None:
        """Opens the pre-trained model and puts what was trained into it."""
        self._classify = Classifier(Path(context.artifacts["adapter"]))

    # Of this type MLflow makes no schema: it hands on whatever it is given, and asks for no other type.
    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """A frame (N, C), its columns named by the classes.

        Args:
            model_input: a picture or a list of them: paths, pictures of PIL, or arrays (H, W, 3) from 0 to
                255; a frame whose first column has paths; or an array (N, 3, size, size) from 0 to 255 of
                the model's own input size.
        """
        given: Any = model_input
        if isinstance(given, pd.DataFrame):
            given = given.iloc[:, 0].tolist()
        if isinstance(given, np.ndarray) and given.ndim == 4 and given.shape[1] == 3:
            found = self._classify.of_pixels(torch.as_tensor(given))
        else:
            several = isinstance(given, list | tuple) or getattr(given, "ndim", 3) == 4
            found = self._classify(list(given) if several else [given])
        return pd.DataFrame(found.numpy(), columns=list(self._classify.classes))


set_model(Winner())
