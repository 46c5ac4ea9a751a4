"""Networks that make feature maps of images: torchvision's ResNets, timm's, and small ones whose cells see a square."""
