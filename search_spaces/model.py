"""What is adapted."""

from typing import Literal

from pydantic import Field

from search_spaces.part import Part


class Model(Part):
    """The pre-trained model."""

    library: Literal["open_clip", "timm"] = Field(description="the library that builds the model")
    name: str = Field(
        min_length=1,
        description="the model's name in its library, such as ViT-B-16 or vit_base_patch16_224.dino; "
        "tiny-clip and tiny-dino ship with the project",
    )
    pretrained: str = Field(
        default="bundled",
        min_length=1,
        description="the weights: a checkpoint's path, one of open_clip's tags, 'hub' for the tag in timm's "
        "name, or 'bundled' for those that ship with the project",
    )
