"""Image classifiers: folders of pictures, models from elsewhere, plain architectures."""
