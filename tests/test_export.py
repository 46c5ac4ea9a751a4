"""export.py: the file gives what the model gives, with nothing but numpy and onnxruntime."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from command_line import call
from refusals import refused
from small_run import CLASSES, left_by_main

import export
from configs.errors import RunError
from configs.finished_run import finished_run

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.mark.parametrize("model_type", ["chiqpm", "qpm", "qsenn"])  # sldd is exported as qsenn
def test_onnxruntime_gives_the_same_predictions_and_sets(small_run, tmp_path, model_type):
    flags = [*small_run, "--model_type", model_type]
    settings, source = finished_run(flags, "")
    shutil.copy(source.file(f"{settings.model_name}_FinetunedModel.pth"), tmp_path)
    run, tables, predictor = left_by_main([*flags, "--folder", str(tmp_path)])
    data, test = run.data, tables.test

    file = tmp_path / "model.onnx"
    call(export, *flags, "--folder", tmp_path, "--output", file)

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map
    pixels = torch.stack([image for image, _ in data.test])
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (data.test.mean, data.test.std))
    pixels = (pixels * std + mean).numpy()
    logits, features, maps, scores = session.run(None, {"images": pixels})
    np.testing.assert_allclose(logits, test.logits, atol=1e-4)
    np.testing.assert_allclose(features, test.features, atol=1e-4)
    assert (logits.argmax(axis=1) == test.predictions.numpy()).all()
    assert maps.shape == (len(pixels), 6, 4, 4) and (maps >= 0).all()
    assert json.loads(told["classes"]) == CLASSES
    for coverage, threshold in json.loads(told["thresholds"]).items():
        expected = predictor.predict(test.features, test.logits, float(coverage)).numpy()
        on_the_edge = np.abs(scores - threshold) < 1e-5
        assert (((scores <= threshold) == expected) | on_the_edge).all()
        assert on_the_edge.mean() < 0.2
    one = session.run(["logits"], {"images": pixels[:1]})[0]
    np.testing.assert_allclose(one, logits[:1], atol=1e-5)


def test_an_output_that_cannot_be_written_is_told_before_the_work(small_run, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "open_model", lambda *_: pytest.fail("too late"))
    (tmp_path / "file").touch()
    with refused(RunError, "cannot write", "model.onnx"):
        call(export, *small_run, "--output", tmp_path / "file" / "model.onnx")


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(export.RunError, match="pip install onnx onnxscript"):
        export.onnx_model(None, None)
