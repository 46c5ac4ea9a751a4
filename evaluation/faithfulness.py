"""Whether the heatmaps mark what the model looks at, on any dataset.

Deletion and insertion (Petsiuk et al., BMVC 2018): cells of the image are blurred, starting where the map is largest,
and the value that the map explains should fall at once; or the blurred image gets its cells back in the same order, and
the value should rise at once. The measure is the area under the curve over the share of cells, compared with the area
for cells in random order, which is the same for both. Randomisation (Adebayo et al., NeurIPS 2018): a map that does not
change when the weights are shuffled shows the image, not the model.

This takes some 60 forward passes per image, so it is measured only on request, and on a few images (`IMAGES`).
"""

import copy

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from architectures.activations import strongest_first
from architectures.classifier import InterpretableClassifier, ModelOutput
from architectures.sparse_head import MIN_STD, SparseHead
from configs.open_run import OpenRun
from configs.run_files import DENSE_MODEL_FILE
from configs.script import progress
from training.dense import load_dense_model

IMAGES = 32  # of the test images, evenly spread
STEPS = 8  # in which all cells are blurred
BLUR = 1 / 16  # standard deviation of the blur, as a share of the image's side


def steps_of(order: Tensor, cells: tuple[int, int]) -> Tensor:
    """Cells that have been taken after each of the `STEPS` but the last, `[STEPS - 1, h, w]` bool.

    Args:
        order: indices of the cells in the order in which they are taken, `[h * w]`.
        cells: h and w.
    """
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
    ends = torch.arange(1, STEPS).unsqueeze(1) * len(order) / STEPS
    return (rank < ends).unflatten(1, cells)


def partly_blurred(image: Tensor, masks: Tensor) -> Tensor:
    """The image `[3, S, S]` blurred in the cells of every mask `[M, h, w]`: `[M, 3, S, S]`."""
    side = image.shape[-1]
    size = 2 * round(3 * BLUR * side) + 1
    blurred = gaussian_blur(image, [size, size], [BLUR * side, BLUR * side])
    where = nn.functional.interpolate(masks[:, None].float(), size=image.shape[1:])
    return torch.where(where > 0, blurred, image)


def area(start: float, values: Tensor, end: float) -> float:
    """Area under a curve of `STEPS` steps of equal width, from its ends and the `STEPS - 1` values between them."""
    return (values.sum().item() + (start + end) / 2) / STEPS


def class_map(model: InterpretableClassifier, output: ModelOutput) -> Tensor:
    """How much every cell supports the predicted class of a single image, `[h, w]`.

    The weighted sum of its features' maps; for a dense model this is Grad-CAM (Selvaraju et al., ICCV 2017), since the
    gradients of a linear head are its weights.
    """
    weight = model.class_weight[output.logits[0].argmax()]
    if isinstance(model.linear, SparseHead):
        weight = weight / model.linear.std.clamp(min=MIN_STD)
    return torch.einsum("f,fhw->hw", weight, output.feature_maps[0]).relu().cpu()


def strongest_feature(model: InterpretableClassifier, output: ModelOutput) -> int | None:
    """The feature whose presence most supports the predicted class of a single image; None if none does.

    An absent feature has no map to test, though its absence may support a class (Q-SENN, SLDD-Model).
    """
    weight = model.class_weight[output.logits[0].argmax()].clamp(min=0)
    present = output.feature_maps[0].amax(dim=(1, 2)) > 0
    contribution = weight * output.features[0] * present
    best = int(contribution.argmax())
    return best if contribution[best] > 0 else None


def blurred_cells(maps: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Masks `[M, h, w]` of the cells that are blurred along every curve, by its name.

    Args:
        maps: `[h, w]`, by the name of what they explain.
        seed: of the curve `random`.

    Returns:
        For every map the deletion under its name and `NAME insertion`; `random`; and `all`, a single mask.
    """
    height, width = next(iter(maps.values())).shape
    orders = {name: strongest_first(map_.flatten()) for name, map_ in maps.items()}
    orders["random"] = torch.randperm(height * width, generator=torch.Generator().manual_seed(seed))
    blurred = {name: steps_of(order, (height, width)) for name, order in orders.items()}
    blurred |= {f"{name} insertion": ~blurred[name] for name in maps}
    return blurred | {"all": torch.ones(1, height, width).bool()}


@torch.inference_mode()
def curves(model: InterpretableClassifier, image: Tensor, seed: int) -> dict[str, float]:
    """Areas under the curves of an image's predicted class, and for a sparse model of its strongest feature.

    Values are the probability of that class, and the feature (mean or maximum of its map) relative to its value in the
    unchanged image.

    Args:
        image: transformed, `[3, S, S]`.
    """
    device = model.class_weight.device
    seen = model(image[None].to(device))
    predicted = int(seen.logits[0].argmax())
    maps = {"Class": class_map(model, seen)}
    feature = strongest_feature(model, seen) if isinstance(model.linear, SparseHead) else None
    if feature is not None:
        maps["Feature"] = seen.feature_maps[0, feature].cpu()
    blurred = blurred_cells(maps, seed)
    masks = torch.cat(list(blurred.values()))
    changed = model(partly_blurred(image.to(device), masks.to(device)))
    pooled = model.backbone.pool(torch.cat([seen.feature_maps, changed.feature_maps])).cpu()
    values = {"Class": torch.cat([seen.logits, changed.logits]).softmax(dim=1)[:, predicted].cpu()}
    if feature is not None:
        values["Feature"] = pooled[:, feature] / pooled[0, feature].clamp(min=1e-8)

    areas = {}
    for name, value in values.items():
        start, *parts = value.split([1, *map(len, blurred.values())])
        under = dict(zip(blurred, parts, strict=True))
        whole, none = start.item(), under["all"].item()
        areas[f"{name}, deletion"] = area(whole, under[name], none)
        areas[f"{name}, insertion"] = area(none, under[f"{name} insertion"], whole)
        areas[f"{name}, random cells"] = area(whole, under["random"], none)
    return areas


def shuffled(model: InterpretableClassifier) -> InterpretableClassifier:
    """The model with the values of every parameter of its backbone in random order."""
    twin, generator = copy.deepcopy(model), torch.Generator().manual_seed(0)
    for parameter in twin.backbone.parameters():
        order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
        parameter.data = parameter.data.flatten()[order].view_as(parameter)
    return twin


@torch.inference_mode()
def map_correlation(model: InterpretableClassifier, other: InterpretableClassifier, image: Tensor) -> float:
    """Rank correlation of two models' maps of the features of the predicted class; 0 where a map is constant."""
    images = image[None].to(model.class_weight.device)
    output = model(images)
    features = model.class_weight[output.logits[0].argmax()].nonzero().flatten()
    pairs = (m[0, features].flatten(1).cpu() for m in (output.feature_maps, other(images).feature_maps))
    ranks = [
        0.0 if a.amin() == a.amax() or b.amin() == b.amax() else spearmanr(a, b).statistic
        for a, b in zip(*pairs, strict=True)
    ]
    return float(np.mean(ranks or [0.0]))  # a class of Q-SENN or SLDD-Model may have no features


def faithfulness(run: OpenRun, model: InterpretableClassifier) -> dict[str, float]:
    """All measures under readable names, means over `IMAGES` test images; the dense model's if the run has one."""
    test = run.data.test
    rows = np.linspace(0, len(test) - 1, min(IMAGES, len(test))).astype(int)
    models = {"Class": model.eval()}
    if (dense := dense_model(run)) is not None:
        models["Grad-CAM of the dense model"] = dense
    shuffled_model = shuffled(model)
    found: dict[str, list[float]] = {}
    for row in progress(rows, desc="Faithfulness", unit="image"):
        image = test[int(row)][0]
        for name, seen in models.items():
            for key, value in curves(seen, image, int(row)).items():
                found.setdefault(key.replace("Class", name), []).append(value)
        correlation = map_correlation(model, shuffled_model, image)
        found.setdefault("Rank correlation with maps of shuffled weights", []).append(correlation)
    return {name: float(np.mean(values)) for name, values in found.items()}


def dense_model(run: OpenRun) -> InterpretableClassifier | None:
    """The dense model of a run, None if it has none."""
    if not run.folder.file(DENSE_MODEL_FILE).exists():
        return None
    return load_dense_model(run).eval()
