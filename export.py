"""Write a finished model as one ONNX file for other programs, with its explanations and its calibration.

    python export.py --folder RUN_FOLDER                 # writes RUN_FOLDER/chiqpm_50_5.onnx
    pip install onnx onnxscript                          # needed for writing; reading needs only onnxruntime

docs/export.md describes the file, and reads it in ten lines.
"""

import configs  # noqa: F401, I001  first, so that a missing torch is told in one line
import io
import json
import logging
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from architectures.classifier import InterpretableClassifier, ModelOutput
from configs.arguments import choice, flag
from configs.errors import RunError
from configs.files import check_writable, write_atomically
from configs.finished_run import finished_run, refuse_to_replace_inputs
from configs.hardware import Hardware
from configs.paths import expanded
from configs.script import run_script
from configs.settings import Settings
from conformal.hierarchy import class_feature_indices, prediction_hierarchy
from conformal.predictor import EVERY_PERCENT, ConformalPredictor
from conformal.scores.hierarchical import HierarchicalPredictor
from conformal.scores.thr import thr_score
from prediction.model import FinishedModel, open_model

log = logging.getLogger(__name__)

EXPORT = "export"
INPUT, OUTPUTS = "images", ("logits", "features", "feature_maps", "nonconformity")


def _file(text: str) -> str:
    path = expanded(text)
    if Path(path).is_dir():
        raise ValueError(f"{text} is a folder; name a file")
    return path


@dataclass(frozen=True)
class ExportFlags:
    """Where to write."""

    format: str = flag(EXPORT, "onnx", "onnx", parse=choice(("onnx",), "format"))
    output: str | None = flag(EXPORT, None, "file to write (default: RUN_FOLDER/MODEL.onnx)", parse=_file)


class ExportedModel(nn.Module):
    """From pixels to everything that explains and calibrates a prediction.

    Args:
        model: finished, on the CPU.
        mean, std: channel statistics for normalising its images.
        predictor: calibrated.
    """

    mean: Tensor
    std: Tensor
    class_features: Tensor

    def __init__(self, model: InterpretableClassifier, mean, std, predictor: ConformalPredictor):
        super().__init__()
        self.model, self.predictor = model, predictor
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))
        if isinstance(predictor, HierarchicalPredictor):
            self.register_buffer("class_features", class_feature_indices(predictor.weight))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """`OUTPUTS` of RGB images `[N, 3, S, S]` with values from 0 to 1."""
        output = self.model((images - self.mean) / self.std)
        return output.logits, output.features, output.feature_maps, self.nonconformity(output)

    def nonconformity(self, output: ModelOutput) -> Tensor:
        """The predictor's nonconformity, `[N, C]` in double precision, without loops over the images."""
        logits = output.logits.double()
        probabilities = logits.softmax(dim=1)
        if not isinstance(self.predictor, HierarchicalPredictor):
            return thr_score(probabilities)
        activations = self.predictor.activations(output.features.double())
        hierarchy = prediction_hierarchy(activations, logits.argmax(dim=1), self.class_features)
        together = hierarchy.branch.unsqueeze(2) == hierarchy.branch.unsqueeze(1)  # (N, C, C)
        mean = (together * probabilities.unsqueeze(1)).sum(dim=2) / together.sum(dim=2)
        of_prediction = together.gather(
            1, logits.argmax(dim=1)[:, None, None].expand(-1, 1, together.shape[2])
        ).squeeze(1)
        return (1 - mean).masked_fill(of_prediction, 0)


def main() -> None:
    """Export the model of a run."""
    settings, run, flags = finished_run(None, __doc__, ExportFlags)
    path = Path(flags.output or run.file(f"{settings.model_name}.{flags.format}"))
    refuse_to_replace_inputs([path], run)
    check_writable(path)
    finished = open_model(settings, run, Hardware.choose("cpu", 0))
    content = onnx_model(settings, finished)
    write_atomically(path, lambda temporary: temporary.write_bytes(content))
    log.info("%s: %.1f MB, %s -> %s", path, len(content) / 1e6, INPUT, ", ".join(OUTPUTS))


def onnx_model(settings: Settings, finished: FinishedModel) -> bytes:
    """A finished model in the ONNX format, with its `metadata`; RunError if the packages that write it are missing."""
    try:
        import onnx
        from onnxscript import opset18 as op
    except ImportError as error:
        raise RunError(
            f"writing ONNX needs {error.name}, which is not installed: pip install onnx onnxscript"
        ) from None

    def stable_sort(values, *, stable=None, dim=-1, descending=False):
        """TopK of all values: ONNX guarantees that of equal values the one with the lower index comes first."""
        length = op.Gather(op.Shape(values), op.Constant(value_ints=[dim]))
        return op.TopK(values, length, axis=dim, largest=int(descending), sorted=1)

    for library in ("onnx_ir", "onnxscript"):  # they log every constant
        logging.getLogger(library).setLevel(logging.WARNING)
    transform = finished.data.transform
    module = ExportedModel(finished.model, transform.mean, transform.std, finished.predictor)
    images = torch.rand(2, 3, transform.side, transform.side)
    with redirect_stdout(io.StringIO()):
        program = torch.onnx.export(
            module.eval(),
            (images,),
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes={INPUT: {0: torch.export.Dim("N")}},
            custom_translation_table={torch.ops.aten.sort.stable: stable_sort},
            dynamo=True,
            verbose=False,
        )
    proto = program.model_proto
    onnx.helper.set_model_props(proto, metadata(settings, finished))
    return proto.SerializeToString()


def metadata(settings: Settings, finished: FinishedModel) -> dict[str, str]:
    """The file's data in addition to the network: texts, most of them JSON.

    A class is in the prediction set for a coverage if its `nonconformity` is at most the threshold.
    """
    transform = finished.data.transform
    # With too few calibration images for a coverage, sets hold every class; no nonconformity is above 1.
    thresholds = {
        f"{coverage:g}": min(finished.predictor.threshold(coverage), 1.0)
        for coverage in sorted({*EVERY_PERCENT, *settings.coverage})
    }
    return {
        "model": settings.model_name,
        "arch": settings.arch,
        "classes": json.dumps(finished.data.classes),
        "class_weight": json.dumps(finished.model.class_weight.tolist()),
        "thresholds": json.dumps(thresholds),
        "resize": json.dumps(vars(transform.resize)),
        "side": str(transform.side),
    }


if __name__ == "__main__":
    run_script(main)
