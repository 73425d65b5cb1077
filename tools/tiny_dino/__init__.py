"""Trains tiny-dino, the image model that ships."""
