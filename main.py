"""Train an interpretable classifier: CHiQPM, QPM, Q-SENN or SLDD-Model.

Images -> dense network -> pooled features -> choose 50 features, give 5 to every class -> finetune -> calibrate.

Every stage saves its result in the run folder and is not repeated while that is valid.
Try it without any data: python main.py --dataset SyntheticBirds
"""

import logging

from architectures.backbones.registry import backbone_of
from architectures.inference import feature_tables
from configs import processes
from configs.hardware import Hardware
from configs.model_size import check_classes, with_model_size
from configs.open_run import OpenRun
from configs.records import refuse_to_overwrite_models, write_config
from configs.run_files import IMAGE_LIST
from configs.runs import training_run, with_seed
from configs.script import log_to, run_script
from configs.settings import Settings, parse_settings
from configs.stages import StageFlags, forget_from
from conformal.calibrate import calibrate
from dataset_classes.description import DataDescription
from dataset_classes.registry import data_of, warn_of_dark, warn_of_two_labels
from evaluation.evaluate import evaluate_dense, evaluate_sparse
from evaluation.results import summary
from sparsification.features import dense_features
from sparsification.select import select_features
from training.dense import check_weights, train_dense
from training.finetune import finetune
from training.forecast import forecast

log = logging.getLogger(__name__)


def main() -> None:
    """Open the run, and carry out its stages in sequence."""
    settings, flags = parse_settings(None, __doc__, StageFlags)
    run = opened(settings, flags)
    if flags.dry_run:
        log.info("%s", forecast(run, pipeline))
        return
    with run.folder.locked():
        if processes.is_main():
            note_origin(run)
            if flags.redo:
                forget_from(flags.redo, run.folder, run.settings)
        dense_results, results = pipeline(run)
        log.info(summary(run.settings, run.folder, dense_results, results))
    processes.leave()


def opened(settings: Settings, flags: StageFlags) -> OpenRun:
    """A run with all that its stages work on; UsageError or RunError if it cannot be carried out."""
    backbone = backbone_of(settings)
    hardware = Hardware.choose(settings.device, settings.workers, settings.precision)
    processes.join(hardware.device)
    data = data_of(settings, backbone)
    settings = with_model_size(settings, n_classes=len(data.train.classes), available=backbone.n_features)
    settings = processes.broadcast(lambda: with_seed(settings, data.fingerprints()))
    check_classes(settings, len(data.train.classes))
    run = OpenRun(settings, training_run(settings), hardware, data)
    check_weights(run, download=not flags.dry_run)
    for images in (data.train_unaugmented, data.test):
        images.check_annotations()
    if processes.is_main() and not flags.overwrite:
        refuse_to_overwrite_models(run.folder, data.fingerprints())
    return run


def note_origin(run: OpenRun) -> None:
    """Record in the run folder, and in its log, what models are made from."""
    settings, folder, data = run.settings, run.folder, run.data
    backbone = backbone_of(settings)
    log_to(folder.file("log.txt"))
    if backbone.receptive_field:
        log.info(
            "A cell of the maps of %s sees %d of %d pixels in each direction.",
            *(backbone.name, backbone.receptive_field, settings.img_size),
        )
    write_config(settings, folder, run.hardware.device, DataDescription.of(data.test).as_dict())
    images = data.image_list()
    images.warn_of_trained(data.test.paths, data.test.digests())
    warn_of_two_labels(data.train)
    warn_of_dark(data.train)
    images.write(folder.file(IMAGE_LIST))


def pipeline(run: OpenRun) -> tuple[dict, dict]:
    """All stages of a run; returns the results of the dense and the sparse model."""
    dense_model = train_dense(run)
    features = dense_features(run, dense_model)
    dense_results = evaluate_dense(run, dense_model, features.pooled)
    layer = select_features(run, features, dense_model)
    sparse_model = finetune(run, dense_model, layer)
    tables = feature_tables(run, sparse_model)
    calibrate(run, layer.weight, tables.test)
    return dense_results, evaluate_sparse(run, sparse_model, tables)


if __name__ == "__main__":
    run_script(main)
