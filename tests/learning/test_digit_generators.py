"""Conditional generators of digits draw what they are asked for, judged by a classifier that none of them saw."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gail.generators import DataConfig, fit, load_data, sample
from gail.generators.dataset import Dataset

pytestmark = pytest.mark.slow

PER_CLASS = 140
KINDS: dict[str, tuple[dict[str, Any], float, float]] = {
    # Settings; the least share of samples that are what was asked; and of held-out digits that samples teach.
    "vae": ({"steps": 800, "channels": 16, "latent": 12}, 0.90, 0.85),
    "gan": ({"steps": 1000, "channels": 16}, 0.90, 0.75),
    "diffusion": ({"steps": 800, "channels": 24, "width": 96}, 0.90, 0.90),
    "vqvae": ({"steps": 1200, "channels": 16, "autoencoder_steps": 500}, 0.75, 0.70),
}


def flat(images: torch.Tensor) -> np.ndarray:
    return images.flatten(1).numpy() / 255.0


@pytest.fixture(scope="module")
def digits() -> Dataset:
    pytest.importorskip("sklearn", reason="the extra 'digits' is not installed")
    return load_data("digits", DataConfig(holdout=0.2))


def judge(images: np.ndarray, labels: np.ndarray) -> Any:
    from sklearn.svm import SVC

    return SVC(gamma="scale", C=5).fit(images, labels)


def nearest(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(rows[:, None] - others[None]).sum(-1).min(1))


def drawn(
    kind: str, data: Dataset, options: dict[str, Any], seed: int
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    result = fit(kind, data, seed=seed, batch_size=64, previews=0, progress=False, precision="fp32", **options)
    images = [sample(result, count=PER_CLASS, label=label, seed=seed + label) for label in range(10)]
    return flat(torch.cat(images)), np.arange(10).repeat(PER_CLASS), result.summary  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_classifier_that_never_saw_them_reads_samples_as_what_was_asked(
    kind: str, seed: int, digits: Dataset
) -> None:
    options, least_agreement, least_taught = KINDS[kind]
    held = digits.held_out
    assert held is not None and held.labels is not None and digits.labels is not None
    real, classes = flat(digits.items), digits.labels.numpy()
    images, asked, summary = drawn(kind, digits, options, seed)
    row = {
        "kind": kind,
        "seed": seed,
        "parameters": summary["parameters"],
        "steps": summary["steps"],
        "seconds": round(summary["wall_seconds"], 1),
        "agreement": round(float((judge(real, classes).predict(images) == asked).mean()), 4),
        "taught": round(float((judge(images, asked).predict(flat(held.items)) == held.labels.numpy()).mean()), 4),
        "copies": round(float((nearest(images, real) < np.percentile(nearest(flat(held.items), real), 1)).mean()), 4),
    }
    print(json.dumps(row))
    assert row["agreement"] >= least_agreement and row["taught"] >= least_taught and row["copies"] <= 0.01


def test_a_model_of_shuffled_labels_draws_what_was_asked_no_more_often_than_chance(digits: Dataset) -> None:
    assert digits.labels is not None
    shuffled = replace(
        digits, labels=digits.labels[torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))]
    )
    images, asked, _ = drawn("vae", shuffled, KINDS["vae"][0], 0)
    assert (judge(flat(digits.items), digits.labels.numpy()).predict(images) == asked).mean() < 0.2
