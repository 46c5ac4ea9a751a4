"""The images: a file per dataset, transforms, and checks."""
