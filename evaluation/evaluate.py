"""Stage 5: what the dense and the sparse model reach on the test images."""

import torch

from architectures.inference import FeatureTable, FeatureTables, described, predict_batches
from architectures.resnet import InterpretableResNet
from configs.hardware import Hardware
from configs.run_folder import RunFolder, read_json, write_json
from configs.runs import dense_model_file, dense_results_file, shared_flags, sparse_results_file
from configs.settings import Settings
from conformal import HierarchicalPredictor, calibration_split


def evaluate_dense(
    settings: Settings, run: RunFolder, model: InterpretableResNet, data, hardware: Hardware
) -> dict:
    """Results of the dense model on the test images, also left in `Results_DenseModel.json`."""
    if not settings.do_dense:
        return {"Accuracy": None}  # its final layer was not trained
    artefact = run.artefact(
        dense_results_file(), {"model": run.digest(dense_model_file()), **described(data.test)}
    )
    if not artefact.is_current():
        n_correct = 0
        for output, labels in predict_batches(model, data.test, hardware, "Dense accuracy"):
            n_correct += (output.logits.argmax(dim=1) == labels).sum().item()
        results = {"Accuracy": n_correct / len(data.test), "Number of test images": len(data.test)}
        artefact.write(lambda path: write_json(path, results))
    return read_json(artefact.path)


def evaluate_sparse(
    settings: Settings, run: RunFolder, predictor: HierarchicalPredictor, tables: FeatureTables
) -> dict:
    """Results of the sparse model on the test images, also left in the run's `Results_*.json`."""
    used = predictor.weight != 0
    _, rows = calibration_split(tables.test.labels, settings.seed)
    results = {
        "Accuracy": tables.test.accuracy,
        "Train Accuracy": tables.train.accuracy,
        "Number of features": int(used.any(dim=0).sum()),
        "Features per class": used.sum(dim=1).double().mean().item(),
        "Coverage": {
            f"{coverage:g}": coverage_results(predictor, tables.test[rows], coverage)
            for coverage in settings.coverage
        },
    }
    write_json(run.file(sparse_results_file(settings)), results)
    return results


def coverage_results(predictor: HierarchicalPredictor, test: FeatureTable, coverage: float) -> dict:
    """Empirical coverage and mean set size on images that were not used for calibration."""
    sets = predictor.predict(test.features, test.logits, coverage)
    covered = sets[torch.arange(len(test)), test.labels]
    return {
        "Coverage": covered.double().mean().item(),
        "Average set size": sets.sum(dim=1).double().mean().item(),
    }


def summary(settings: Settings, run: RunFolder, dense: dict, sparse: dict) -> str:
    """What was reached, where it is, and what to do next: for people."""
    accuracy, dense_accuracy = sparse["Accuracy"], dense["Accuracy"]
    lines = ["", f"{settings.model_type} on {settings.dataset}, seed {settings.seed}"]
    if dense_accuracy is not None:
        lines.append(f"  dense accuracy      {dense_accuracy:7.2%}")
    lines.append(f"  sparse accuracy     {accuracy:7.2%}")
    if dense_accuracy:
        lines.append(f"  sparse / dense      {accuracy / dense_accuracy:7.2%}")
    lines.append(f"  features            {sparse['Number of features']:4d}")
    lines.append(f"  features per class  {sparse['Features per class']:7.2f}")
    for target, measured in sparse["Coverage"].items():
        lines.append(
            f"  coverage {float(target):6.1%}    {measured['Coverage']:7.2%}"
            f" with {measured['Average set size']:.2f} classes a set"
        )
    flags = shared_flags(settings)
    lines += [
        f"  saved in            {run.path}",
        "Next:",
        f"  python compare_classes.py {flags}",
        f"  python visualize_tree.py {flags}",
    ]
    return "\n".join(lines)
