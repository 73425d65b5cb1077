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
        "hf-hub:ORG/NAME or local-dir:PATH for a model with its own configuration; "
        "tiny-clip and tiny-dino ship with the project",
    )
    pretrained: str = Field(
        default="bundled",
        min_length=1,
        description="the weights: one of open_clip's tags, 'hub' for the tag in timm's name, 'bundled' for "
        "those that come with the name, or a checkpoint's path where every tag sees pictures in the same way",
    )
    file: str | None = Field(
        default=None,
        min_length=1,
        description="a checkpoint's path, in place of the tag's weights: the tag says how pictures are shown",
    )
    img_size: int | None = Field(
        default=None,
        ge=1,
        le=4096,
        description="side of the pictures in px, to which position embeddings are resampled; null takes the "
        "tag's, such as 518 for DINOv2",
    )
