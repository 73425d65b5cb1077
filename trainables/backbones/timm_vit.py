"""Vision transformers, by timm: DINO, DINOv2, MAE, supervised."""

from collections.abc import Mapping
from typing import Any

from timm.data import resolve_data_config
from torch import Tensor, nn

from trainables.backbones.backbone import Backbone
from trainables.backbones.examined import examine
from trainables.backbones.fused import fuse, plain_names
from trainables.data.preprocessing import TimmPreprocessing
from trainables.errors import ProblemError

TIMM_PATHS = {"qkv": "attn.qkv", "proj": "attn.proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2"}
"""Where timm's transformer layers have their linear layers."""


class TimmBackbone(Backbone):
    """A vision transformer of timm; its features are what its classifier is given."""

    # timm's models: their attributes are not typed.
    vit: Any

    def __init__(self, vit: nn.Module, config: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.vit = vit.eval()
        config = config or resolve_data_config(model=vit)
        self.preprocessing = TimmPreprocessing.of(config)
        self.set_normalisation(config["mean"], config["std"])
        layers = getattr(vit, "blocks", None)
        if not isinstance(layers, nn.Sequential | nn.ModuleList):
            raise ProblemError("name: the architecture is not a vision transformer with a list of blocks")
        for layer in layers:
            fuse(layer)
        self.set_layers({"image": "vit.blocks"}, {"image": TIMM_PATHS})
        self.freeze()
        examine(self)

    @property
    def classifier(self) -> nn.Module | None:
        """The classifier that the model was trained with, if it has one."""
        head = self.vit.get_classifier()
        return head if isinstance(head, nn.Linear) else None

    def tower_parameters(self, tower: str) -> list[str]:
        """All but the classifier of the pre-training task."""
        classifier = {id(p) for p in self.classifier.parameters()} if self.classifier else set()
        return [name for name, p in self.named_parameters() if id(p) not in classifier and tower == "image"]

    def encode(self, images: Tensor) -> Tensor:
        """Features (N, D) of normalised images (N, 3, H, W): the pooled output, before the classifier."""
        features: Tensor = self.vit.forward_head(self.vit.forward_features(images), pre_logits=True)
        return features

    def plain_state(self) -> dict[str, Tensor]:
        """The weights as timm names them."""
        return plain_names(self.vit, self.vit.state_dict())
