import pytest
import torch
import torch.nn.functional as F
from open_clip import CLIP, build_zero_shot_classifier
from open_clip.tokenizer import SimpleTokenizer

from trainables.backbones import Texts, class_sentences, class_vectors

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


def test_texts_move_as_one() -> None:
    texts = Texts(torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 4)).to("meta")
    assert texts.tokens.is_meta and texts.vectors.is_meta
