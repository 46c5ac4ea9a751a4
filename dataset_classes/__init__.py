"""The images: a file per dataset, their transforms, and the checks of what is wrong with them."""
