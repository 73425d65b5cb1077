"""Trains tiny-clip, the image-text model that ships."""
