"""The images: a file per dataset, transforms, and checks."""

import configs  # noqa: F401  before numpy, which may be missing: that is one line from here on
