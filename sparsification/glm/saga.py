"""The published solver, glm-saga (Wong et al., ICML 2021), behind the interface of our own."""

import importlib
import logging
import warnings

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from configs.errors import UsageError
from sparsification.glm.datafit import CrossEntropy
from sparsification.glm.penalty import ElasticNet

log = logging.getLogger(__name__)

# As in Wong et al., from which Q-SENN and SLDD-Model took them.
LEARNING_RATE = 0.1
BATCH_SIZE = 256  # samples per step
MAX_EPOCHS = 2000  # passes over the samples for one problem
TOLERANCE = 1e-4  # nats: an epoch that lowers the objective by less does not count as progress
# Epochs without progress that end a problem: while features are chosen, and on the path.
CHOICE_PATIENCE, PATH_PATIENCE = 3, 5


class GlmSaga:
    """Minimises datafit + penalty with proximal SAGA, as glm-saga does; slow, and on the CPU.

    It holds all features of the problem and a table of samples x classes in memory.

    Raises:
        UsageError: if the package is not installed.
    """

    def __init__(self):
        try:
            self._train = importlib.import_module("glm_saga.elasticnet").train_saga
        except ImportError as error:
            raise UsageError(
                "the solver glm_saga needs the package glm-saga: "
                "`pip install glm-saga==0.1.2`, or use the default solver"
            ) from error

    def minimise(self, datafit: CrossEntropy, penalty: ElasticNet, strength: float, start: Tensor) -> Tensor:
        """The coefficients that it reaches from a warm start; a fixed seed orders the samples."""
        n_classes, n_columns = start.shape
        linear = torch.nn.Linear(n_columns - 1, n_classes)
        with torch.no_grad():
            linear.weight.copy_(start[:, :-1])
            linear.bias.copy_(start[:, -1])
        with warnings.catch_warnings():
            # It calls softmax without a dimension; torch picks the right one, but warns.
            warnings.simplefilter("ignore", UserWarning)
            self._train(
                linear,
                self._batches(datafit),
                LEARNING_RATE,
                MAX_EPOCHS,
                strength,
                penalty.alpha,
                group=penalty.grouped,
                n_ex=len(datafit.labels),
                n_classes=n_classes,
                tol=TOLERANCE,
                lookbehind=CHOICE_PATIENCE if penalty.grouped else PATH_PATIENCE,
                logger=log.debug,
            )
        return torch.cat([linear.weight, linear.bias[:, None]], 1).detach().to(start)

    def _batches(self, datafit: CrossEntropy) -> DataLoader:
        # float32 on the CPU is the only combination that glm-saga's gradient table accepts.
        features, labels = datafit.standardised().cpu(), datafit.labels.cpu()
        samples = TensorDataset(features, labels, torch.arange(len(labels)))
        order = RandomSampler(samples, generator=torch.Generator().manual_seed(0))
        return DataLoader(samples, batch_size=None, sampler=BatchSampler(order, BATCH_SIZE, drop_last=False))
