"""Places: spots on the objects that a network can find in all images, learnt without labels of parts.

Middle layers show parts far better than the last ones (docs/truth.md). Clusters of their cells are the candidates. One
is a place if the others predict where it is: an object is moved, rotated and scaled from image to image, and its parts
with it. A filter for it is then fitted to the cells at which its own peak and the prediction agree.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor
from torch.nn.functional import normalize

from architectures.activations import distances_of_cells, relative_peaks
from architectures.backbones.base import Backbone
from architectures.backbones.frozen import FrozenPart
from architectures.backbones.placed import PlacedBackbone, place_scores
from architectures.inference import first_of_every_class, measured_columns
from configs import processes
from configs.errors import RunError
from configs.open_run import OpenRun
from configs.recipes import PlacesRecipe
from dataset_classes.base import ImageDataset
from sparsification.parts.places import at_place, fit_place

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MiddleMaps:
    """Maps of a middle layer, whose channels are standardised when cells are used.

    Attributes:
        maps: `[N, C, H, W]` float16.
        mean, std: of the channels, `[C]`.
        whitening: inverse of the channels' correlations, `[C, C]`.
    """

    maps: Tensor
    mean: Tensor
    std: Tensor
    whitening: Tensor

    @classmethod
    def of(cls, maps: Tensor, ridge: float) -> "MiddleMaps":
        """Maps, with statistics over every fourth cell."""
        cells = maps[:, :, ::2, ::2].permute(0, 2, 3, 1).flatten(0, 2).float()
        mean, std = cells.mean(dim=0), cells.std(dim=0).clamp(min=1e-6)
        cells = (cells - mean) / std
        correlations = cells.T @ cells / len(cells)
        return cls(maps, mean, std, torch.linalg.inv(correlations + ridge * torch.eye(len(mean))))

    def some_cells(self, count: int, generator: torch.Generator) -> Tensor:
        """Cells drawn from all images, `[count, C]`."""
        n, _, height, width = self.maps.shape
        image, row, column = (torch.randint(high, (count,), generator=generator) for high in (n, height, width))
        return (self.maps[image, :, row, column].float() - self.mean) / self.std

    def around(self, images: Tensor, positions: Tensor) -> Tensor:
        """Means over 3 x 3 cells, `[M, C]`, at one position of each image, fractions of its side, `[M, 2]`."""
        sides = torch.tensor(self.maps.shape[2:])
        row, column = (positions * sides).long().clamp(min=1).minimum(sides - 2).T
        near = [self.maps[images, :, row + i, column + j].float() for i in (-1, 0, 1) for j in (-1, 0, 1)]
        return (torch.stack(near).mean(dim=0) - self.mean) / self.std

    def filters(self, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Weight `[P, C]` and bias `[P]` for the original maps, from directions of standardised cells `[P, C]`."""
        weight = directions / self.std
        return weight, -(weight @ self.mean)

    def scores(self, directions: Tensor) -> Tensor:
        """Maps of directions, `[N, P, H, W]`."""
        weight, bias = self.filters(directions)
        return torch.cat([place_scores(part.float(), weight, bias) for part in self.maps.split(64)])

    def peaks_of_clusters(self, centres: Tensor) -> tuple[Tensor, Tensor]:
        """The cell of every image most similar to every cluster: cosine `[N, K]` and position `[N, K, 2]`."""
        values, positions = [], []
        for part in self.maps.split(16):
            cells = normalize((part.float() - self.mean[:, None, None]) / self.std[:, None, None], dim=1)
            similar = place_scores(cells, centres, torch.zeros(len(centres)))
            values.append(similar.amax(dim=(2, 3)))
            positions.append(relative_peaks(similar))
        return torch.cat(values), torch.cat(positions)


def learn_places(run: OpenRun, backbone: Backbone) -> None:
    """Find the places of a backbone that looks at places, in training images without augmentation; else do nothing.

    Raises:
        RunError: if too few are found.
    """
    if not isinstance(backbone, PlacedBackbone):
        return
    recipe, seen = run.settings.places, searched_images(run, backbone)
    columns = measured_columns(
        FrozenPart(backbone, backbone.middle_maps),
        seen,
        run.hardware,
        "Maps to find places in",
        lambda maps, _: {"maps": maps.half()},
    )
    find = partial(find_places, columns["maps"], backbone.n_places, recipe, run.settings.seed)
    weight, bias = processes.broadcast(find)
    if len(weight) < backbone.n_places:
        raise RunError(
            f"only {len(weight)} place(s) were found in {len(seen)} training images, not {backbone.n_places}: use a "
            "larger --img_size, or an --arch with fewer places or none"
        )
    backbone.places.load_state_dict({"weight": weight[..., None, None], "bias": bias})
    log.info("%d places were found in %d training images, without labels.", backbone.n_places, len(seen))


def searched_images(run: OpenRun, backbone: PlacedBackbone) -> ImageDataset:
    """The training images, without augmentation, in which places are sought: as many of each class as fit in memory."""
    images = run.data.train_unaugmented
    with torch.inference_mode():
        per_image = backbone.middle_maps(run.hardware.to_device(images[0][0][None])).numel()
    labels = torch.as_tensor(images.labels)
    each = max(1, run.settings.places.values // per_image // len(labels.unique()))
    return images.subset(first_of_every_class(labels, each).numpy())


def find_places(maps: Tensor, n_places: int, recipe: PlacesRecipe, seed: int) -> tuple[Tensor, Tensor]:
    """Filters of the clearest places: weight `[P, C]` and bias `[P]`; fewer than wanted if there are no more.

    Over these images, the score of a place's best cell has a median of 0 and a standard deviation of 1.

    Args:
        maps: of a middle layer, for training images without augmentation, `[N, C, H, W]` float16.
        n_places: how many are wanted.
        recipe: of the search.
        seed: of the starts.
    """
    middle = MiddleMaps.of(maps, recipe.ridge)
    generator = torch.Generator().manual_seed(seed)
    directions = torch.cat([_search(middle, recipe, generator) for _ in range(recipe.starts)])
    if not len(directions):  # all clusters lie at the edges of the images
        return middle.filters(directions)
    scores = middle.scores(directions)
    clearest = clearness(scores, recipe.clear_within).argsort(descending=True)
    kept = _apart(relative_peaks(scores), clearest, n_places, recipe)
    weight, bias = middle.filters(directions[kept])
    best = scores[:, kept].amax(dim=(2, 3))
    spread = best.std(dim=0).clamp(min=1e-6)
    return weight / spread[:, None], (bias - best.median(dim=0).values) / spread


def clearness(scores: Tensor, within: float) -> Tensor:
    """How much higher the best cell is than the best one elsewhere, relative to the mean cell, `[P]`.

    Of the measures that were compared with keypoints, this one best predicts how pure a place is (docs/truth.md).

    Args:
        scores: `[N, P, H, W]`.
        within: "elsewhere" is farther away than this, in rows or columns, as a share of the image's side.
    """
    rows, columns = (away.abs() > within for away in distances_of_cells(relative_peaks(scores), scores))
    elsewhere = rows[..., :, None] | columns[..., None, :]
    best = scores.amax(dim=(2, 3))
    second = scores.masked_fill(~elsewhere, -torch.inf).amax(dim=(2, 3))
    return (best - second).mean(dim=0) / (best - scores.mean(dim=(2, 3))).mean(dim=0)


def _search(middle: MiddleMaps, recipe: PlacesRecipe, generator: torch.Generator) -> Tensor:
    """Directions of the places found from one start, `[P, C]`."""
    directions = _candidates(middle, recipe, generator)
    for _ in range(recipe.rounds if len(directions) else 0):
        directions = _refined(middle, directions, recipe)
    return directions


def _candidates(middle: MiddleMaps, recipe: PlacesRecipe, generator: torch.Generator) -> Tensor:
    """Clusters whose position the others predict best, `[P, C]`."""
    cells = normalize(middle.some_cells(recipe.cells, generator), dim=1)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    n_clusters = min(recipe.clusters, len(cells))
    clustering = MiniBatchKMeans(n_clusters, random_state=seed, batch_size=4096, n_init=1, max_iter=30)
    centres = normalize(torch.as_tensor(clustering.fit(cells.numpy()).cluster_centers_), dim=1)
    values, positions = middle.peaks_of_clusters(centres)
    at_edge = ((positions - 0.5).abs().amax(dim=2) > 0.5 - recipe.edge).float().mean(dim=0)
    inner = (at_edge < 0.5).nonzero()[:, 0]
    errors = torch.full((len(centres),), torch.inf)
    for k in inner.tolist():
        clear = values[:, k].topk(min(recipe.images, len(values))).indices
        clear = clear[torch.randperm(len(clear), generator=generator)]
        others = inner[torch.randperm(len(inner), generator=generator)]
        others = others[others != k][: recipe.landmarks]
        errors[k] = _prediction_error(positions[clear][:, others], positions[clear, k], recipe.ridge)
    order = errors.argsort()[: len(inner)]
    return centres[_apart(positions, order, recipe.candidates, recipe)]


def _prediction_error(landmarks: Tensor, positions: Tensor, ridge: float, folds: int = 5) -> Tensor:
    """Median distance of positions `[M, 2]` from their prediction by landmarks `[M, L, 2]`; cross-validated."""
    known = torch.cat([landmarks.flatten(1), torch.ones(len(landmarks), 1)], dim=1)
    penalty = ridge * torch.eye(known.shape[1])
    fold = torch.arange(len(known)) % folds
    predicted = torch.empty_like(positions)
    for i in range(folds):
        x, y = known[fold != i], positions[fold != i]
        predicted[fold == i] = known[fold == i] @ torch.linalg.solve(x.T @ x + penalty * len(x), x.T @ y)
    return (predicted - positions).norm(dim=1).median()


def _refined(middle: MiddleMaps, directions: Tensor, recipe: PlacesRecipe) -> Tensor:
    """Directions that separate the cells of a place, where its peak and the prediction agree, from others, `[P, C]`."""
    scores = middle.scores(directions)
    best, positions = scores.amax(dim=(2, 3)), relative_peaks(scores)
    clear = best >= best.median(dim=0).values
    spread = scores.flatten(2).std(dim=2).mean(dim=0)
    refined = []
    for p in range(len(directions)):
        others = torch.arange(len(directions)) != p
        place, _ = fit_place(positions[:, others], positions[:, p], clear[:, p], recipe)
        likely = at_place(positions[:, others], place)
        nearest = relative_peaks(scores[:, p] / spread[p] - _squared_distance(likely, scores) / (2 * recipe.pull**2))
        agrees = (nearest - positions[:, p]).norm(dim=1) < recipe.agree
        if not bool(agrees.any()):  # in no image: it stays unchanged
            refined.append(directions[p])
            continue
        seen = middle.around(agrees.nonzero()[:, 0], nearest[agrees]).mean(dim=0)
        refined.append(middle.whitening @ seen)
    return torch.stack(refined)


def _squared_distance(positions: Tensor, maps: Tensor) -> Tensor:
    """Squared distance of every cell of maps `[..., H, W]` from a position in each image `[N, 2]`: `[N, H, W]`."""
    rows, columns = distances_of_cells(positions, maps)
    return rows[:, :, None] ** 2 + columns[:, None, :] ** 2


def _apart(positions: Tensor, order: Iterable[int], count: int, recipe: PlacesRecipe) -> list[int]:
    """The first `count` places, in the given order, that usually lie apart; positions `[N, P, 2]`."""
    kept: list[int] = []
    for p in map(int, order):
        distances = (positions[:, kept] - positions[:, [p]]).norm(dim=2).median(dim=0).values
        if bool((distances > recipe.apart).all()):
            kept.append(p)
        if len(kept) == count:
            break
    return kept
