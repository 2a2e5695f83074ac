"""COALA in JAX and Flax: co-aligned autoencoders for audio and tags (Favory et al., 2020)."""

__version__ = "0.1.0"
