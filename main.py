"""Train an interpretable classifier: CHiQPM, QPM, Q-SENN or SLDD-Model.

images -> dense ResNet -> pooled features -> choose 50 features, give 5 to every class -> finetune -> calibrate

Every stage leaves its result in the run folder and is not done again while it is valid.
Try it without any data: python main.py --dataset SyntheticBirds
"""

import logging

from architectures.backbones.registry import backbone_of
from architectures.inference import feature_tables
from configs import processes
from configs.hardware import Hardware
from configs.runs import training_run, with_seed, write_config
from configs.script import log_to, run_script
from configs.settings import check_classes, parse_settings
from conformal.calibrate import calibrate
from dataset_classes.description import DataDescription
from dataset_classes.registry import data_of
from evaluation.evaluate import evaluate_dense, evaluate_sparse
from evaluation.results import summary
from sparsification.features import dense_features
from sparsification.select import select_features
from training.dense import train_dense
from training.finetune import finetune

log = logging.getLogger(__name__)


def main() -> None:
    """The whole pipeline in sequence."""
    (settings,) = parse_settings(None, __doc__)
    backbone = backbone_of(settings)
    hardware = Hardware.choose(settings.device, settings.workers, settings.precision)
    processes.join(hardware.device)
    settings = processes.agreed(lambda: with_seed(settings))
    data = data_of(settings, backbone)
    check_classes(settings, len(data.train.classes))
    run = training_run(settings)
    with run.locked():
        if processes.is_main():
            log_to(run.file("log.txt"))
            write_config(settings, run, hardware.device, DataDescription.of(data.test).as_dict())
        dense_model = train_dense(settings, run, data, hardware)
        features = dense_features(settings, run, dense_model, data, hardware)
        dense_results = evaluate_dense(settings, run, dense_model, features.pooled, data, hardware)
        layer = select_features(settings, run, features)
        sparse_model = finetune(settings, run, data, dense_model, layer, hardware)
        tables = feature_tables(settings, run, sparse_model, data, hardware)
        calibrate(settings, run, layer.weight, tables.test)
        results = evaluate_sparse(settings, run, sparse_model, tables, data)
        log.info(summary(settings, run, dense_results, results))
    processes.leave()


if __name__ == "__main__":
    run_script(main)
