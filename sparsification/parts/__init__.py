"""Parts and their looks, found from local features alone: which look of every part a class has (docs/truth.md).

A class of birds has one look of every part: this beak, that belly, that tail. If the model gives every look a feature
of its own, the feature that separates two classes is the part in which they differ. Neither parts nor looks are
labelled; they are found in the features, if each of these sees a small region and is the maximum of its map:

1. `alternatives`: the looks of one part exclude each other, and every class has one of them. Features that do so form a
   group, which is a part. This finds the clearest parts, from the classes alone.
2. `places`: the known parts are landmarks. The position of another part is a linear function of where their features
   peak in an image.
3. `looks`: what the maps show at that position differs between classes by the look of the part, and by little else. The
   looks are clusters of the classes by what is seen there.
4. `search`: puts this together. It adds the part where classes differ most beyond the looks of the known parts, until
   there are enough; then it settles all parts together and gives every look its feature.

Limits: it needs a network with a small receptive field and maximum pooling (`--arch local15`), at least 28 classes, and
two parts that can be found from the classes alone; parts found later are assumed to have as many looks as the clearest
one. The result is used only if it has as many parts as a class is to have features, and as many looks as the model is
to have features; otherwise the quadratic program chooses.
"""

from sparsification.parts.scenes import Scenes, collect_scenes
from sparsification.parts.search import PartSearch

__all__ = ["PartSearch", "Scenes", "collect_scenes"]
