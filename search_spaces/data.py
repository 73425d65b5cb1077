"""What is adapted, what is learned and what is remembered."""

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field

from search_spaces.part import Name, Part, refuse_repeats


class Model(Part):
    """The pre-trained model."""

    library: Literal["open_clip"] = Field(description="the library that builds the model")
    name: str = Field(min_length=1, description="the model's name in its library, such as tiny-clip")
    pretrained: str = Field(
        default="bundled",
        min_length=1,
        description="the weights: 'bundled' for those that ship with the project",
    )


class Source(Part):
    """A data set, as it is or shifted."""

    source: Literal["digits", "glyphs", "glyph_colors"] = Field(
        description="the pictures: scanned digits, printed letters and digits, or the colours of printed ones"
    )
    shift: Literal["inverted", "rotated", "blurred", "noisy"] | None = Field(
        default=None, description="how the pictures are changed; null leaves them as they are"
    )
    name: Name | None = Field(
        default=None, description="the name on plots and metrics; null takes the source and its shift"
    )

    @property
    def label(self) -> str:
        """The name on plots and metrics: name, or source-shift, or source."""
        plain = f"{self.source}-{self.shift}" if self.shift else self.source
        return self.name or plain


class Probe(Source):
    """A data set of the pre-training domain, and how it is scored."""

    score: Literal["zero_shot"] = Field(default="zero_shot", description="how the probe is scored")


AnySource = TypeVar("AnySource", bound=Source)


def _own_labels(sources: tuple[AnySource, ...]) -> tuple[AnySource, ...]:
    refuse_repeats((source.label for source in sources), "give one of the two another name")
    return sources


class Data(Part):
    """The data of a sweep; labels are unique among the ood sets and among the probes."""

    id: Source = Field(description="the in-distribution task, which is trained on")
    ood: Annotated[tuple[Source, ...], Field(strict=False), AfterValidator(_own_labels)] = Field(
        default=(), description="shifted versions of the task, which are only tested on"
    )
    probes: Annotated[tuple[Probe, ...], Field(strict=False, min_length=1), AfterValidator(_own_labels)] = (
        Field(description="at least one data set of the pre-training domain, on which forgetting is measured")
    )

    def labels(self) -> dict[str, str | list[str]]:
        """The labels of what stands under each key."""
        return {
            "id": self.id.label,
            "ood": [source.label for source in self.ood],
            "probes": [probe.label for probe in self.probes],
        }
