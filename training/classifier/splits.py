"""Train, validation and test parts of an image set: whole persons, classes spread evenly, imbalance said aloud."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_tinymig.recipes.classify import ProbeDataSpec

from .images import ImageSet, Item

SMALL_CLASS = 10


@dataclass(frozen=True)
class Split:
    """Items of a source: train, val, test. notes: what was said of balance and size."""

    train: tuple[Item, ...]
    val: tuple[Item, ...]
    test: tuple[Item, ...]
    notes: tuple[str, ...] = ()


def split_by_case(images: ImageSet, spec: ProbeDataSpec, seed: int) -> Split:
    """Train, validation and test items; a case (person) is in one of them only, classes are spread evenly.

    The test part depends on `spec.split_seed` alone, so that seeds share it; `seed` draws train and validation.
    Splits that the source fixes (MedMNIST) are kept. ValueError for a class with too few cases to split.
    """
    _check_classes(images)
    fixed = {part: tuple(i for i in images.items if i.part == part) for part in ("train", "val", "test")}
    if fixed["train"] and fixed["val"] and fixed["test"]:
        train, val, test = fixed["train"], fixed["val"], fixed["test"]
    else:
        test, rest = _take(images.items, spec.test_fraction, spec.split_seed)
        val, train = _take(rest, spec.val_fraction, seed + 1000)
    for part, items in (("training", train), ("validation", val)):
        absent = [c for i, c in enumerate(images.classes) if all(item.label != i for item in items)]
        if absent:
            raise ValueError(
                f"{images.name}: no {part} image of class '{absent[0]}' is left after splitting by person; it has "
                f"{images.counts[absent[0]]} images of {_cases(images, absent[0])} persons; give more of them"
            )
    train = _cap(train, spec.per_class, seed)
    return Split(train, val, test, _balance_notes(images, train, test, spec))


def _check_classes(images: ImageSet) -> None:
    if len(images.classes) < 2:
        raise ValueError(f"{images.name}: one class ('{images.classes[0]}') found; expected at least two")
    for name, count in images.counts.items():
        if count < 3:
            raise ValueError(
                f"{images.name}: class '{name}' has {count} image{'' if count == 1 else 's'}; expected at least 3 (one "
                "each to train, choose and test on), better 20; add images or remove the class"
            )


def _cases(images: ImageSet, name: str) -> int:
    return len({i.case for i in images.items if i.label == images.classes.index(name)})


def _take(items: Sequence[Item], fraction: float, seed: int) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """About `fraction` of each class's images (at least one case, unless it is 0) in whole cases; and the rest."""
    labels_of: dict[str, Counter[int]] = {}
    for item in items:
        labels_of.setdefault(item.case, Counter())[item.label] += 1
    total = Counter(item.label for item in items)
    order = sorted(labels_of)
    np.random.default_rng(seed).shuffle(order)
    order.sort(key=lambda case: -len(labels_of[case]))  # cases with several classes first, while there is room
    have: Counter[int] = Counter()
    taken: set[str] = set()
    for case in order:
        counts = labels_of[case]
        room = all(have[c] + n <= max(1, round(fraction * total[c])) for c, n in counts.items())
        if fraction > 0 and room:
            taken.add(case)
            have += counts
    return tuple(i for i in items if i.case in taken), tuple(i for i in items if i.case not in taken)


def _cap(items: tuple[Item, ...], per_class: int | None, seed: int) -> tuple[Item, ...]:
    if per_class is None:
        return items
    order = np.random.default_rng(seed + 2000).permutation(len(items))
    seen: Counter[int] = Counter()
    keep = set()
    for i in order:
        if seen[items[i].label] < per_class:
            seen[items[i].label] += 1
            keep.add(int(i))
    return tuple(item for i, item in enumerate(items) if i in keep)


def _balance_notes(
    images: ImageSet, train: Sequence[Item], test: Sequence[Item], spec: ProbeDataSpec
) -> tuple[str, ...]:
    counts = Counter(i.label for i in train)
    notes = []
    most, least = max(counts.values()), min(counts.values())
    if most >= 1.5 * least:
        said = ", ".join(f"{c}: {counts[i]}" for i, c in enumerate(images.classes))
        how = "rare classes weigh more in the loss" if spec.balance == "weights" else "nothing is done about it"
        notes.append(f"The training classes are unequal ({said}); {how}. Read balanced accuracy, not accuracy.")
    for i, name in enumerate(images.classes):
        if counts[i] < SMALL_CLASS:
            notes.append(f"Class '{name}' has {counts[i]} training images; below {SMALL_CLASS} expect little.")
        if spec.test_fraction > 0 and all(item.label != i for item in test):
            notes.append(f"Class '{name}' is missing in the test part: AUROC and balanced accuracy leave it out.")
    return tuple(notes)


def colour_notes(kinds_of: Sequence[str], labels: Sequence[int], classes: Sequence[str]) -> tuple[str, ...]:
    """A warning if grey and colour images are mixed, louder if the mixture differs between the classes."""
    kinds = Counter(kinds_of)
    if kinds["grey"] == 0 or kinds["colour"] == 0:
        return ()
    per_class = [Counter(k for k, y in zip(kinds_of, labels) if y == i) for i in range(len(classes))]
    share = [c["colour"] / max(1, sum(c.values())) for c in per_class]
    text = (
        f"{kinds['grey']} grey and {kinds['colour']} colour images are mixed; grey ones are repeated in three channels."
    )
    if max(share) - min(share) > 0.1:
        text += " Colour is not equally common in the classes: the classifier may learn colour instead of disease."
    return (text,)
