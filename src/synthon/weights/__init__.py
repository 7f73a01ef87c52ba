"""Find weights: the catalogue, on disk, fetched."""

from synthon.weights.catalogue import CATALOGUE, Piece, Weights, WeightsFile
from synthon.weights.fetching import fetch
from synthon.weights.on_disk import adapter_at, digest_of, is_here, models_folder, path_of

__all__ = [
    "CATALOGUE", "Piece", "Weights", "WeightsFile", "adapter_at", "digest_of", "fetch", "is_here", "models_folder",
    "path_of",
]  # fmt: skip
