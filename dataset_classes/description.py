"""What a finished model needs to know of its dataset, so that it can be used where the dataset is not."""

from dataclasses import asdict, dataclass

from configs.run_folder import RunFolder
from configs.runs import recorded_data
from dataset_classes.base import ImageDataset
from dataset_classes.transforms import FixedTransform, Resize


@dataclass(frozen=True)
class DataDescription:
    """Names of the classes, and how an image becomes the network's input.

    Attributes:
        classes: the index is the label.
        transform: the test transform.
    """

    classes: list[str]
    transform: FixedTransform

    @classmethod
    def of(cls, test: ImageDataset) -> "DataDescription":
        """The description of a dataset under its test transform."""
        return cls(test.classes, test.transform)

    @classmethod
    def recorded(cls, run: RunFolder) -> "DataDescription | None":
        """The description that a run left in its folder, if it did."""
        data = recorded_data(run)
        if data is None:
            return None
        numbers = data["transform"]
        return cls(
            data["classes"],
            FixedTransform(
                Resize(**numbers["resize"]),
                numbers["side"],
                tuple(numbers["mean"]),
                tuple(numbers["std"]),
            ),
        )

    def as_dict(self) -> dict:
        """Plain values that a run's config.json can hold."""
        return asdict(self)
