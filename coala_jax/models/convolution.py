"""The two convolutions of COALA: 4x4, stride 2, padding 1, and its transpose (paper, supplement).

Both are one matrix product over patches gathered by space-to-depth. XLA's own convolution is ten
times slower than that on a CPU and is the right one on an accelerator, so each of the three
products (forward, input gradient, kernel gradient) exists in both forms, and the platform chooses
when the program is compiled. The gradients are written out (`custom_vjp`) because differentiating
the gather would keep its patches, four times the size of the images, for the whole batch.

The images decide the precision of the products: a float32 kernel meets bfloat16 images rounded to
bfloat16, and its gradient is summed and returned in float32.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

KERNEL = 4
STRIDE = 2
PADDING = 1

# Images in one matrix product on a CPU: two keep the gathered patches in the cache of a core and
# the product large enough; one and four were slower.
_IMAGES_PER_PRODUCT = 2

Images = Float[Array, "batch height width channel_in"]
Halved = Float[Array, "batch height//2 width//2 channel_out"]
Small = Float[Array, "batch rows columns channel_out"]
Doubled = Float[Array, "batch 2*rows 2*columns channel_in"]
Kernel = Float[Array, "4 4 channel_in channel_out"]
Rows = Float[Array, "pixel column"]
Matrix = Float[Array, "column channel_out"]


@jax.custom_vjp
def convolve(images: Images, kernel: Kernel) -> Halved:
    """Strided convolution: `[b, h, w, in]` -> `[b, h / 2, w / 2, out]`, h and w even.

    `kernel[i, j]` weighs the pixel at (2 y + i - 1, 2 x + j - 1), as torch.nn.Conv2d(4, 2, 1) does.
    """
    kernel = kernel.astype(images.dtype)
    return lax.platform_dependent(images, kernel, cpu=_forward_products, default=_forward_xla)


@jax.custom_vjp
def convolve_transposed(images: Small, kernel: Kernel) -> Doubled:
    """Transposed convolution: `[b, h, w, out]` -> `[b, 2 h, 2 w, in]`.

    The kernel has the layout of the convolution it is the transpose of, `[4, 4, in, out]`: its last
    axis meets the channels of `images`. Equal to torch.nn.ConvTranspose2d(4, 2, 1).
    """
    kernel = kernel.astype(images.dtype)
    return lax.platform_dependent(images, kernel, cpu=_transpose_products, default=_transpose_xla)


def _kernel_gradient(images: Images, gradient: Small, kernel: Kernel) -> Kernel:
    """Gradient of `sum(convolve(images, k) * gradient)` with respect to `k`, in its precision."""
    result = lax.platform_dependent(
        images, gradient, cpu=_kernel_gradient_products, default=_kernel_gradient_xla
    )
    return result.astype(kernel.dtype)


def _convolve_forward(images: Images, kernel: Kernel) -> tuple[Halved, tuple[Images, Kernel]]:
    return convolve(images, kernel), (images, kernel)


def _convolve_backward(saved: tuple[Images, Kernel], gradient: Small) -> tuple[Images, Kernel]:
    images, kernel = saved
    return convolve_transposed(gradient, kernel), _kernel_gradient(images, gradient, kernel)


def _transposed_forward(images: Small, kernel: Kernel) -> tuple[Doubled, tuple[Small, Kernel]]:
    return convolve_transposed(images, kernel), (images, kernel)


def _transposed_backward(saved: tuple[Small, Kernel], gradient: Images) -> tuple[Small, Kernel]:
    images, kernel = saved
    return convolve(gradient, kernel), _kernel_gradient(gradient, images, kernel)


convolve.defvjp(_convolve_forward, _convolve_backward)
convolve_transposed.defvjp(_transposed_forward, _transposed_backward)


# --- XLA's convolution: accelerators, and the reference for the values in the tests ---------------


def _forward_xla(images: Images, kernel: Kernel) -> Halved:
    return lax.conv_general_dilated(
        images,
        kernel,
        window_strides=(STRIDE, STRIDE),
        padding=[(PADDING, PADDING)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def _transpose_xla(images: Small, kernel: Kernel) -> Doubled:
    batch, height, width, _ = images.shape
    target = jax.ShapeDtypeStruct(
        (batch, STRIDE * height, STRIDE * width, kernel.shape[2]), images.dtype
    )
    (result,) = jax.linear_transpose(lambda x: _forward_xla(x, kernel), target)(images)
    return result


def _kernel_gradient_xla(images: Images, gradient: Small) -> Kernel:
    target = jax.ShapeDtypeStruct(
        (KERNEL, KERNEL, images.shape[-1], gradient.shape[-1]), images.dtype
    )
    (result,) = jax.linear_transpose(lambda k: _forward_xla(images, k), target)(gradient)
    return result.astype(_sum_dtype(images))


# --- Matrix products: CPUs ------------------------------------------------------------------------


def _gather(images: Images) -> Rows:
    """4x4 patches at stride 2 as rows: `[b h/2 w/2, 16 c]`, columns in the order of `_columns`."""
    batch, height, width, channels = images.shape
    rows, columns = height // 2, width // 2
    padded = jnp.pad(images, ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    blocks = padded.reshape(batch, rows + 1, 2, columns + 1, 2, channels)
    blocks = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows + 1, columns + 1, 4 * channels)
    quarters = [blocks[:, i : i + rows, j : j + columns] for i in (0, 1) for j in (0, 1)]
    return jnp.concatenate(quarters, axis=-1).reshape(-1, 16 * channels)


def _scatter(patches: Rows, batch: int, rows: int, columns: int) -> Float[Array, "..."]:
    """The adjoint of `_gather`: overlapping patches add up to `[b, 2 rows, 2 columns, c]`."""
    channels = patches.shape[-1] // 16
    quarters = patches.reshape(batch, rows, columns, 4, 4 * channels)
    blocks = sum(
        jnp.pad(quarters[:, :, :, 2 * i + j], ((0, 0), (i, 1 - i), (j, 1 - j), (0, 0)))
        for i in (0, 1)
        for j in (0, 1)
    )
    blocks = blocks.reshape(batch, rows + 1, columns + 1, 2, 2, channels)
    padded = blocks.transpose(0, 1, 3, 2, 4, 5).reshape(
        batch, 2 * rows + 2, 2 * columns + 2, channels
    )
    return padded[:, PADDING:-PADDING, PADDING:-PADDING]


def _columns(kernel: Kernel) -> Matrix:
    """The kernel as a matrix, its rows in the order in which `_gather` lays out a patch."""
    *_, channels_in, channels_out = kernel.shape
    blocks = kernel.reshape(2, 2, 2, 2, channels_in, channels_out)
    return blocks.transpose(0, 2, 1, 3, 4, 5).reshape(16 * channels_in, channels_out)


def _kernel_of(columns: Matrix) -> Kernel:
    channels_in, channels_out = columns.shape[0] // 16, columns.shape[1]
    blocks = columns.reshape(2, 2, 2, 2, channels_in, channels_out)
    return blocks.transpose(0, 2, 1, 3, 4, 5).reshape(KERNEL, KERNEL, channels_in, channels_out)


def _in_groups(images: Float[Array, "batch ..."]) -> Float[Array, "group image ..."]:
    size = _IMAGES_PER_PRODUCT if images.shape[0] % _IMAGES_PER_PRODUCT == 0 else 1
    return images.reshape(-1, size, *images.shape[1:])


def _map_groups(function: Callable[[Array], Array], images: Float[Array, "batch ..."]) -> Array:
    results = lax.map(function, _in_groups(images))
    return results.reshape(images.shape[0], *results.shape[2:])


def _forward_products(images: Images, kernel: Kernel) -> Halved:
    matrix = _columns(kernel)

    def one_group(group: Array) -> Array:
        size, height, width, _ = group.shape
        return (_gather(group) @ matrix).reshape(size, height // 2, width // 2, -1)

    return _map_groups(one_group, images)


def _transpose_products(images: Small, kernel: Kernel) -> Doubled:
    matrix = _columns(kernel).T

    def one_group(group: Array) -> Array:
        size, rows, columns, channels = group.shape
        patches = jnp.matmul(
            group.reshape(-1, channels), matrix, preferred_element_type=_sum_dtype(images)
        )
        return _scatter(patches, size, rows, columns).astype(images.dtype)

    return _map_groups(one_group, images)


def _sum_dtype(images: Images) -> jnp.dtype:
    """What products are summed in: bfloat16 has 8 bits, and a sum over a batch would lose most."""
    return jnp.dtype(jnp.float32) if images.dtype == jnp.bfloat16 else images.dtype


def _kernel_gradient_products(images: Images, gradient: Small) -> Kernel:
    channels_out, dtype = gradient.shape[-1], _sum_dtype(images)

    def add_group(total: Array, group: tuple[Array, Array]) -> tuple[Array, None]:
        group_images, group_gradient = group
        # Gradient-transposed times patches, transposed once at the end: the other order, which
        # transposes the sixteen times larger patches, takes half as long again.
        gradient_columns = group_gradient.reshape(-1, channels_out).T
        product = jnp.matmul(gradient_columns, _gather(group_images), preferred_element_type=dtype)
        return total + product, None

    zeros = jnp.zeros((channels_out, 16 * images.shape[-1]), dtype)
    total, _ = lax.scan(add_group, zeros, (_in_groups(images), _in_groups(gradient)))
    return _kernel_of(total.T)
