"""The three losses of COALA, one value per example (paper, Eq. 4 and 10 to 13).

Per example, so that sums over a batch, over devices and over batches all merge by addition. How a
patch or a tag vector is reduced to one value follows the released code, to which the paper's
learning rate and weights belong: the divergence is summed over time and averaged over mel bands,
the cross-entropy averaged over tags.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

Vectors = Float[Array, "row latent"]
Losses = Float[Array, " row"]


def generalized_kl(
    patches: Float[Array, "row mel time"], logits: Float[Array, "row mel time"]
) -> Losses:
    """D_KL(X || sigmoid(logits)) = X log(X / Y) - X + Y >= 0 (Eq. 4), for X in [0, 1]."""
    divergence = (
        jax.scipy.special.xlogy(patches, patches)
        - patches * jax.nn.log_sigmoid(logits)
        - patches
        + jax.nn.sigmoid(logits)
    )
    return divergence.sum(axis=2).mean(axis=1)


def tag_cross_entropy(tags: Num[Array, "row tag"], logits: Float[Array, "row tag"]) -> Losses:
    """Cross-entropy of multi-hot tags and sigmoid(logits), each tag a binary choice."""
    positive = jax.nn.softplus(-logits)
    negative = jax.nn.softplus(logits)
    return jnp.where(tags > 0, positive, negative).mean(axis=1)


def contrastive(
    audio: Vectors,
    candidates: Float[Array, "candidate latent"],
    own: Int[Array, " row"],
    valid: Bool[Array, " candidate"],
    temperature: float,
) -> Losses:
    """-log of a pair's similarity over that of the sound with all OTHER tag sets (Eq. 10 to 12).

    The positive is not in the denominator, so the value may be negative.

    audio: aligned vectors of sounds.
    candidates: aligned vectors of the tag sets of the whole batch, over all devices.
    own: for each sound, the candidate that is its own tag set.
    valid: False for candidates that are padding.
    """
    similarity = normalized(audio) @ normalized(candidates).T / temperature
    is_own = jnp.arange(candidates.shape[0], dtype=own.dtype)[None] == own[:, None]
    others = jnp.where(valid[None] & ~is_own, similarity, -jnp.inf)
    return jax.nn.logsumexp(others, axis=1) - jnp.where(is_own, similarity, 0.0).sum(axis=1)


def normalized(vectors: Vectors) -> Vectors:
    """Vectors of length 1; a zero vector stays zero, with a finite gradient.

    Lengths below 1e-12 count as 1e-12, as in torch.nn.functional.normalize: with float32's smallest
    number in its place, the square of a zero vector's gradient would overflow.
    """
    squares = (vectors * vectors).sum(axis=-1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(squares, 1e-24))
