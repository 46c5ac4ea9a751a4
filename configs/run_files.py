"""Names of the files of a run."""

from configs.settings import Settings

CONFIG = "config.json"
IMAGE_LIST = "images.csv"
DENSE_MODEL_FILE, DENSE_RESULTS_FILE = "Trained_DenseModel.pth", "Results_DenseModel.json"
POOLED_FILE, STATISTICS_FILE = "DenseFeatures_train.npy", "DenseFeatures_train.npz"
BESIDE = "Evaluated_"  # prefix of files made from other images than the model's own, which keeps those of its run
SPARSE_MODEL = "_FinetunedModel.pth"  # suffix of sparse models
SPARSE_RESULTS = "Results_{}_FinetunedModel.json"  # of a sparse model's name


def sparse_model_file(settings: Settings) -> str:
    """Name of the sparse model's state dict."""
    return settings.model_name + SPARSE_MODEL


def selection_file(settings: Settings) -> str:
    """Name of the file with the selected features and the class-feature weights."""
    return f"{settings.model_name}_Selection.npz"


def feature_table_file(settings: Settings, split: str) -> str:
    """Name of the sparse model's feature table on `train` or `test`."""
    return f"{settings.model_name}_Features_{split}.npz"


def calibration_file(settings: Settings) -> str:
    """Name of the calibrated predictor."""
    return f"{settings.model_name}_Calibration.npz"


def sparse_results_file(settings: Settings) -> str:
    """Name of the sparse model's results."""
    return SPARSE_RESULTS.format(settings.model_name)
