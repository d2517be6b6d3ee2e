"""specrec: spectra of recommendation embeddings."""

__version__ = "0.1.0"
