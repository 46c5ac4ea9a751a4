"""The images: a file per dataset, transforms, and checks."""

import configs  # noqa: F401  first, so that a missing numpy is told in one line
