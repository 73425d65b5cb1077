"""Write trainables/data/known_sets.json: the class names and templates of CLIP_benchmark.

    pip download --no-deps clip-benchmark && python tools/known_sets.py clip_benchmark-*.whl

Nothing of the package is run or installed, since it brings much along. Keys are the lower-case names of
torchvision's data sets, and the names are in the order of torchvision's labels.
"""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

TARGET = Path(__file__).parents[1] / "trainables" / "data" / "known_sets.json"

NAMES = {
    "caltech101": "caltech101",
    "cifar10": "cifar10",
    "cifar100": "cifar100",
    "country211": "country211",
    "dtd": "dtd",
    "eurosat": "eurosat",
    "fer2013": "fer2013",
    "fgvcaircraft": "fgvc_aircraft",
    "flowers102": "flowers",
    "food101": "food101",
    "gtsrb": "gtsrb",
    "imagenet": "imagenet1k",
    "mnist": "mnist",
    "oxfordiiitpet": "pets",
    "pcam": "pcam",
    "qmnist": "mnist",
    "renderedsst2": "renderedsst2",
    "stanfordcars": "cars",
    "stl10": "stl10",
    "sun397": "sun397",
    "svhn": "svhn",
}
"""CLIP_benchmark's name of each data set."""

# CLIP_benchmark has no names for these: it takes the data sets' own, which are in their files.
_CIFAR100 = """
apple, aquarium fish, baby, bear, beaver, bed, bee, beetle, bicycle, bottle, bowl, boy, bridge, bus,
butterfly, camel, can, castle, caterpillar, cattle, chair, chimpanzee, clock, cloud, cockroach,
couch, crab, crocodile, cup, dinosaur, dolphin, elephant, flatfish, forest, fox, girl, hamster,
house, kangaroo, keyboard, lamp, lawn mower, leopard, lion, lizard, lobster, man, maple tree,
motorcycle, mountain, mouse, mushroom, oak tree, orange, orchid, otter, palm tree, pear, pickup
truck, pine tree, plain, plate, poppy, porcupine, possum, rabbit, raccoon, ray, road, rocket, rose,
sea, seal, shark, shrew, skunk, skyscraper, snail, snake, spider, squirrel, streetcar, sunflower,
sweet pepper, table, tank, telephone, television, tiger, tractor, train, trout, tulip, turtle,
wardrobe, whale, willow tree, wolf, woman, worm
"""
OWN_NAMES = {
    "cifar10": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
    "cifar100": [name.strip() for name in _CIFAR100.split(",")],
    "renderedsst2": ["negative", "positive"],
    "stl10": ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"],
}
_FER2013 = ("angry", "disgusted", "fearful", "happy", "sad", "surprised", "neutral")


def main() -> None:
    """Write the file from the package's two."""
    with zipfile.ZipFile(sys.argv[1]) as wheel:
        names, templates = (
            json.loads(wheel.read(f"clip_benchmark/datasets/en_{kind}.json"))
            for kind in ("classnames", "zeroshot_classification_templates")
        )
    sets = {ours: _set(ours, names.get(theirs), templates[theirs]) for ours, theirs in NAMES.items()}
    origin = (
        f"Class names and templates of {Path(sys.argv[1]).name.split('-py')[0]} "
        "(MIT License, Copyright (c) 2022, Mehdi Cherti); written by tools/known_sets.py"
    )
    lines = ",\n".join(f'  "{name}": {json.dumps(found)}' for name, found in sets.items())
    TARGET.write_text(f'{{\n  "origin": {json.dumps(origin)},\n{lines}\n}}\n')


def _set(ours: str, classes: list[str] | None, templates: list[str]) -> dict[str, Any]:
    classes = OWN_NAMES.get(ours, classes)
    if ours == "caltech101":
        classes = [name for name in classes or () if name != "background"]  # torchvision leaves it out
    if ours == "fer2013":
        assert sorted(_FER2013) == classes  # theirs are in the order of folders
        classes = list(_FER2013)
    return {"classes": classes, "templates": [template.replace("{c}", "{}") for template in templates]}


if __name__ == "__main__":
    main()
