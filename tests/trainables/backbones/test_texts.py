import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from open_clip import CLIP, build_zero_shot_classifier
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from trainables.backbones import ClipBackbone, Texts, class_sentences, class_vectors
from trainables.backbones.padding import encode_in_parts

CLASSES = ("letter", "digit", "circle")
TEMPLATES = ("a red {}", "a {} on a blue background")


def test_sentences_are_in_the_order_of_the_classes() -> None:
    assert class_sentences(CLASSES[:2], TEMPLATES) == [
        "a red letter",
        "a letter on a blue background",
        "a red digit",
        "a digit on a blue background",
    ]


def test_class_vectors_are_open_clips_zero_shot_classifier(clip: CLIP, tokenizer: SimpleTokenizer) -> None:
    """Of two models: the second's embeddings are of other lengths, which do not count, and swapped."""
    with torch.no_grad():
        embeddings = clip.encode_text(tokenizer(class_sentences(CLASSES, TEMPLATES)))
        classifier = build_zero_shot_classifier(clip, tokenizer, CLASSES, TEMPLATES)
    other = embeddings.flip(0) * torch.linspace(0.1, 5, len(embeddings))[:, None]
    first, second = class_vectors(torch.stack([embeddings, other]), len(TEMPLATES))
    assert first.T.numpy() == pytest.approx(classifier.numpy(), abs=1e-6)
    assert second.flip(0).T.numpy() == pytest.approx(classifier.numpy(), abs=1e-6)


def test_class_vectors_pass_gradients_to_the_text_tower() -> None:
    embeddings = torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    F.relu(class_vectors(embeddings, 2)).sum().backward()
    assert embeddings.grad is not None and embeddings.grad.abs().amax(dim=-1).gt(0).any(dim=1).all()


def test_each_device_computes_its_own_vectors() -> None:
    texts = Texts(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 4))
    assert texts.to("cpu").vectors is texts.vectors
    assert texts.to("meta").tokens.is_meta and texts.to("meta").vectors is None


def test_vectors_of_many_sentences_are_kept_by_model_and_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backbone: ClipBackbone
) -> None:
    """Another process, which has another object of the same content, does not compute them again."""
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("trainables.backbones.texts._WORTH_KEEPING", 3)
    computed: list[int] = []
    plain = encode_in_parts

    def counted(clip: CLIP, tokens: Tensor, padding: int | None) -> Tensor:
        computed.append(len(tokens))
        return plain(clip, tokens, padding)

    monkeypatch.setattr("trainables.backbones.clip.encode_in_parts", counted)
    sentences = ["a", "letter a", "one"]
    texts = backbone.texts(sentences)
    first = backbone.vectors(texts)
    assert computed == [3] and backbone.vectors(texts) is first and not first.is_inference()
    again = pickle.loads(pickle.dumps(backbone))
    with torch.inference_mode():
        assert torch.equal(again.vectors(again.texts(sentences)), first)
    assert computed == [3]
    backbone.vectors(backbone.texts(["a", "letter b", "one"]))
    with torch.no_grad():
        again.clip.token_embedding.weight.mul_(2)
    changed = again.vectors(again.texts(sentences))
    assert computed == [3, 3, 3] and not torch.equal(changed, first)
    # What is few is not worth a file.
    backbone.vectors(backbone.texts(sentences[:2]))
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 3


def test_a_folder_that_cannot_be_written_costs_time_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    backbone: ClipBackbone,
) -> None:
    (tmp_path / "cache").write_text("a file in its place")
    monkeypatch.setenv("SWEEPER_CACHE", str(tmp_path / "cache"))
    expected = backbone.vectors(backbone.texts(["a", "b"]))
    monkeypatch.setattr("trainables.backbones.texts._WORTH_KEEPING", 2)
    assert torch.equal(backbone.vectors(backbone.texts(["a", "b"])), expected)
    assert capsys.readouterr().err.count("\n") == 1
