"""The three losses of COALA, one value per example (paper, Eq. 4 and 10 to 13; released code).

Per example, so that sums over a batch, over devices and over batches all merge by addition.

`reduction` says how a patch or a tag vector becomes one value. `mean` follows the released code,
for which the paper's learning rate and weights were tuned: the divergence is summed over time and
averaged over mel bands, the cross-entropy averaged over tags. `sum` is the literal text.

Inputs in bfloat16 are computed in float32.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

Vectors = Float[Array, "row latent"]
Candidates = Float[Array, "candidate latent"]
Losses = Float[Array, " row"]

_RATIO_OFFSET = 1e-5  # of the released code's log(ratio + 1e-5)


def generalized_kl(
    patches: Float[Array, "row mel time"],
    logits: Float[Array, "row mel time"],
    offset: float = 0.0,
    reduction: str = "mean",
) -> Losses:
    """D_KL(X || Y) = X log(X / Y) - X + Y of patches X and Y = sigmoid(logits) (Eq. 4).

    At least 0. X is in [0, 1], but may pass 1 with the released scaling. The released code adds an
    `offset` of 1e-5 to X and Y within the logarithm, and may then fall below 0 by as much.
    """
    logits = _exact(logits)
    patches = patches.astype(logits.dtype)
    reconstruction = jax.nn.sigmoid(logits)
    if offset:
        log_ratio = jnp.log((patches + offset) / (reconstruction + offset))
        divergence = patches * log_ratio
    else:
        divergence = jax.scipy.special.xlogy(patches, patches)
        divergence -= patches * jax.nn.log_sigmoid(logits)
    per_band = (divergence - patches + reconstruction).sum(axis=2)
    return per_band.mean(axis=1) if reduction == "mean" else per_band.sum(axis=1)


def tag_cross_entropy(
    tags: Num[Array, "row tag"], logits: Float[Array, "row tag"], reduction: str = "mean"
) -> Losses:
    """Cross-entropy of multi-hot tags and sigmoid(logits), each tag a binary choice."""
    logits = _exact(logits)
    each = jnp.where(tags > 0, jax.nn.softplus(-logits), jax.nn.softplus(logits))
    return each.mean(axis=1) if reduction == "mean" else each.sum(axis=1)


def cross_modal(
    audio: Vectors,
    candidates: Candidates,
    own: Int[Array, " row"],
    negative: Bool[Array, "row candidate"],
    temperature: float,
) -> Losses:
    """-log of a pair's similarity over the sound's with OTHER tag sets (Eq. 10 to 12).

    The positive is not in the denominator, so the value may be NEGATIVE. A row without a negative
    has the value 0.

    audio: aligned vectors of sounds.
    candidates: aligned vectors of the tag sets of the whole batch, over all devices.
    own: for each sound, the candidate that is its own tag set.
    negative: the candidates in a row's denominator, never its own.
    """
    similarity = _similarity(audio, candidates, temperature)
    positive = jnp.take_along_axis(similarity, own[:, None], axis=1)[:, 0]
    # Rows without a negative take their positive for one, so that no gradient is infinite.
    alone = ~negative.any(axis=1)
    is_own = jnp.arange(candidates.shape[0], dtype=own.dtype)[None] == own[:, None]
    counted = negative | (alone[:, None] & is_own)
    return _log_sum_exp(similarity, counted) - positive


def nt_xent(
    audio: Vectors,
    tags: Vectors,
    audio_candidates: Candidates,
    tag_candidates: Candidates,
    own: Int[Array, " row"],
    negative: Bool[Array, "row candidate"],
    temperature: float,
    reduction: str = "mean",
) -> Losses:
    """NT-Xent over the 2 N vectors of both kinds, as the released code has it.

    Each sound and each tag set against all other sounds and tag sets of the batch, the positive in
    the denominator: -log(ratio + 1e-5), which is at least -1e-5. A row is the mean of its two
    directions, or their sum.
    """
    both = jnp.concatenate([audio_candidates, tag_candidates])
    is_own = jnp.arange(audio_candidates.shape[0], dtype=own.dtype)[None] == own[:, None]
    directions = []
    for vectors, partner in ((audio, (False, True)), (tags, (True, False))):
        similarity = _similarity(vectors, both, temperature)
        positive = jnp.concatenate([is_own & side for side in partner], axis=1)
        counted = jnp.concatenate([negative, negative], axis=1) | positive
        log_positive = jnp.where(positive, similarity, 0.0).sum(axis=1)
        log_ratio = log_positive - _log_sum_exp(similarity, counted)
        directions.append(
            -jnp.logaddexp(log_ratio, jnp.log(jnp.asarray(_RATIO_OFFSET, log_ratio.dtype))[None])
        )
    total = directions[0] + directions[1]
    return total / 2 if reduction == "mean" else total


def equal_sets(
    tags: Num[Array, "row tag"], candidates: Num[Array, "candidate tag"]
) -> Bool[Array, "row candidate"]:
    """Which candidates have exactly the tags of a row."""
    tags, candidates = tags.astype(jnp.float32), candidates.astype(jnp.float32)
    common = tags @ candidates.T  # exact: counts below 2^24
    return (common == tags.sum(axis=1)[:, None]) & (common == candidates.sum(axis=1)[None])


def normalized(vectors: Vectors) -> Vectors:
    """Vectors of length 1; a zero vector stays zero, with a finite gradient.

    Lengths below 1e-12 count as 1e-12, as in torch.nn.functional.normalize: with float32's smallest
    number in its place, the square of a zero vector's gradient would overflow.
    """
    squares = (vectors * vectors).sum(axis=-1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(squares, 1e-24))


def _similarity(
    rows: Vectors, candidates: Candidates, temperature: float
) -> Float[Array, "row candidate"]:
    """Cosines over the temperature."""
    # An accelerator's default has 8 or 10 bits, and the temperature amplifies its error.
    cosines = jnp.matmul(
        normalized(_exact(rows)), normalized(_exact(candidates)).T, precision="highest"
    )
    return cosines / temperature


def _log_sum_exp(
    similarity: Float[Array, "row candidate"], counted: Bool[Array, "row candidate"]
) -> Losses:
    return jax.nn.logsumexp(jnp.where(counted, similarity, -jnp.inf), axis=1)


def _exact(values: Float[Array, "*any"]) -> Float[Array, "*any"]:
    return values.astype(jnp.float32) if values.dtype == jnp.bfloat16 else values
