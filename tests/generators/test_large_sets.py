"""Sets of transitions larger than what is looked at are drawn and audited without ever being in memory whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from toy_data import make_demos

from gail.core.errors import InputError
from gail.demos import Demonstrations, load_demos, save_demos
from gail.demos.bundled import bundled_demos
from gail.generators import AuditConfig, FitResult, audit, fit, sample, sample_transitions


@pytest.fixture(scope="module")
def model() -> FitResult:
    return fit("vae", make_demos(), data_kind="transitions", steps=3, batch_size=8, previews=0, progress=False)


def test_transitions_drawn_in_blocks_equal_those_drawn_at_once(model: FitResult, tmp_path: Path) -> None:
    sample(model, transitions=1200, seed=3, out=tmp_path / "once.npz")
    sample_transitions(model, 1200, tmp_path / "blocks.npz", seed=3, progress=False)
    with np.load(tmp_path / "once.npz") as once, np.load(tmp_path / "blocks.npz") as blocks:
        assert set(once) == set(blocks)
        for name in once:
            np.testing.assert_array_equal(once[name], blocks[name])


def test_drawing_decodes_a_few_rows_at_a_time(
    model: FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec, most = type(model.generator.model.codec), []
    decode = codec.decode
    monkeypatch.setattr(codec, "decode", lambda self, samples: most.append(len(samples)) or decode(self, samples))
    sample_transitions(model, 1200, tmp_path / "set.npz", progress=False)
    assert most == [500, 500, 200]
    assert len(load_demos(tmp_path / "set.npz")) == 1200


def test_what_cannot_be_drawn_is_refused_before_anything_is_written(model: FitResult, tmp_path: Path) -> None:
    taken = tmp_path / "taken.npz"
    taken.write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        sample_transitions(model, 10, taken, progress=False)
    with pytest.raises(InputError, match="--guidance: vae has no such setting"):
        sample_transitions(model, 10, tmp_path / "new.npz", guidance=2.0, progress=False)
    assert taken.read_text() == "mine" and [taken] == list(tmp_path.iterdir())


def test_a_large_file_is_audited_by_drawn_rows_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = load_demos(bundled_demos("Hopper-v5"))
    model = fit("vae", real.first(5), data_kind="transitions", steps=20, previews=0, progress=False)
    made = sample(model, transitions=3000)
    assert isinstance(made, Demonstrations)
    path = save_demos(made, tmp_path / "made.npz")

    def never(*_: object, **__: object) -> Demonstrations:
        raise AssertionError("the whole set was read")

    monkeypatch.setattr("gail.generators.audit_view.load_demos", never)
    config = AuditConfig(rows=600)
    streamed, whole = (audit(source, real.first(5), config=config).summary for source in (path, made))
    assert (streamed["synthetic"]["steps"], streamed["rows_synthetic"], whole["rows_synthetic"]) == (3000, 600, 600)
    for name in ("dynamics_error", "auc", "ks_mean", "coverage", "duplication"):
        assert streamed[name] == pytest.approx(whole[name], rel=0.2, abs=0.05)
    assert streamed["synthetic"]["sha256"] is not None
