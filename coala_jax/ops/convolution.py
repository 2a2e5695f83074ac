"""The two convolutions of COALA: 4x4, stride 2, padding 1, and its transpose (paper, supplement).

Both, and the gradient of their kernel, are matrix products between two layouts of pixels: L of the
images, and R of the maps of half their size. The convolution is R'(L(x) K), its transpose
L'(R(y) K'), the kernel's gradient L(x)' R(y), where a prime is the transpose of a linear map. XLA's
own convolution is ten times slower than that on a CPU and best on an accelerator, so the form is
chosen by platform at compile time. The gradients are written out (`custom_vjp`) because
differentiating the layouts would keep them for the whole batch.

The images set the precision of the products: for bfloat16 images a float32 kernel is rounded to
bfloat16, and its gradient is summed and returned in float32.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from coala_jax.ops.chunks import map_chunks

KERNEL = 4
STRIDE = 2
PADDING = 1

# Values on the larger side of one matrix product on a CPU, 4 MB, which stay in the cache: two
# images of the paper's largest maps. One and eight were slower.
_VALUES_PER_PRODUCT = 2**20

Images = Float[Array, "batch height width channel_in"]
Halved = Float[Array, "batch height//2 width//2 channel_out"]
Small = Float[Array, "batch rows columns channel_out"]
Doubled = Float[Array, "batch 2*rows 2*columns channel_in"]
Kernel = Float[Array, "4 4 channel_in channel_out"]
Matrix = Float[Array, "_ _"]
Pixels = Float[Array, "batch _ _ _"]  # rows, columns, channels
Layout = Callable[[Pixels], Pixels]


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
    target = (batch, STRIDE * height, STRIDE * width, kernel.shape[2])
    return _transposed(lambda x: _forward_xla(x, kernel), target, images)


def _kernel_gradient_xla(images: Images, gradient: Small) -> Kernel:
    target = (KERNEL, KERNEL, images.shape[-1], gradient.shape[-1])
    result = _transposed(lambda k: _forward_xla(images, k), target, gradient)
    return result.astype(_sum_dtype(images))


def _transposed(linear: Callable[[Array], Array], shape: tuple[int, ...], values: Array) -> Array:
    """The transpose of a linear map of arrays of this shape."""
    (result,) = jax.linear_transpose(linear, jax.ShapeDtypeStruct(shape, values.dtype))(values)
    return result


# --- Matrix products: CPUs ------------------------------------------------------------------------


def _forward_products(images: Images, kernel: Kernel) -> Halved:
    left, right = _layouts(kernel)
    matrix = _matrix(kernel)
    _, height, width, _ = images.shape
    shape = (height // 2, width // 2, kernel.shape[3])

    def some(images: Images) -> tuple[Halved, None]:
        product = _product(left(images), matrix)
        maps = _transposed(right, (len(images), *shape), product)
        return maps.astype(images.dtype), None

    return map_chunks(some, images, _at_once(shape, kernel))[0]


def _transpose_products(maps: Small, kernel: Kernel) -> Doubled:
    left, right = _layouts(kernel)
    matrix = _matrix(kernel)
    _, rows, columns, _ = maps.shape
    shape = (2 * rows, 2 * columns, kernel.shape[2])

    def some(maps: Small) -> tuple[Doubled, None]:
        product = _product(right(maps), matrix.T)
        images = _transposed(left, (len(maps), *shape), product)
        return images.astype(maps.dtype), None

    return map_chunks(some, maps, _at_once(maps.shape[1:], kernel))[0]


def _kernel_gradient_products(images: Images, gradient: Small) -> Kernel:
    shape = (KERNEL, KERNEL, images.shape[-1], gradient.shape[-1])
    kernel = jax.ShapeDtypeStruct(shape, images.dtype)
    left, right = _layouts(kernel)

    def some(both: tuple[Images, Small]) -> tuple[None, Matrix]:
        rows = (_rows(left(both[0])), _rows(right(both[1])))
        return None, jnp.matmul(rows[0].T, rows[1], preferred_element_type=_sum_dtype(images))

    _, total = map_chunks(some, (images, gradient), _at_once(gradient.shape[1:], kernel))
    return _transposed(_matrix, shape, total)


def _layouts(kernel: Kernel | jax.ShapeDtypeStruct) -> tuple[Layout, Layout]:
    """L and R. The one with fewer channels repeats every value four times."""
    return (_patches, _pixels) if _few_channels(kernel) else (_blocks, _at_blocks)


def _few_channels(kernel: Kernel | jax.ShapeDtypeStruct) -> bool:
    return kernel.shape[2] < kernel.shape[3]


def _matrix(kernel: Kernel) -> Matrix:
    """The kernel as the matrix between the channels of L and those of R."""
    blocks = kernel.reshape(2, 2, 2, 2, *kernel.shape[2:])  # a patch is 2x2 blocks of 2x2 pixels
    if _few_channels(kernel):
        return blocks.transpose(0, 2, 1, 3, 4, 5).reshape(-1, kernel.shape[3])
    return blocks.transpose(1, 3, 4, 0, 2, 5).reshape(4 * kernel.shape[2], -1)


def _blocks(images: Pixels) -> Pixels:
    """The 2x2 blocks that patches consist of: `[b, 2 r, 2 s, c]` -> `[b, r + 1, s + 1, 4 c]`."""
    batch, height, width, channels = images.shape
    rows, columns = height // 2 + 1, width // 2 + 1
    padded = jnp.pad(images, ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0)))
    blocks = padded.reshape(batch, rows, 2, columns, 2, channels)
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows, columns, 4 * channels)


def _patches(images: Pixels) -> Pixels:
    """Each patch as the four blocks it consists of: `[b, 2 r, 2 s, c]` -> `[b, r, s, 16 c]`."""
    blocks = _blocks(images)
    rows, columns = blocks.shape[1] - 1, blocks.shape[2] - 1
    quarters = [blocks[:, i : i + rows, j : j + columns] for i in (0, 1) for j in (0, 1)]
    return jnp.concatenate(quarters, axis=-1)


def _pixels(maps: Pixels) -> Pixels:
    return maps


def _at_blocks(maps: Pixels) -> Pixels:
    """Each pixel at the four blocks of its patch: `[b, r, s, c]` -> `[b, r + 1, s + 1, 4 c]`."""
    pads = [((0, 0), (i, 1 - i), (j, 1 - j), (0, 0)) for i in (0, 1) for j in (0, 1)]
    return jnp.concatenate([jnp.pad(maps, pad) for pad in pads], axis=-1)


def _product(pixels: Pixels, matrix: Matrix) -> Pixels:
    product = jnp.matmul(_rows(pixels), matrix, preferred_element_type=_sum_dtype(pixels))
    return product.reshape(*pixels.shape[:3], -1)


def _rows(pixels: Pixels) -> Float[Array, "row channel"]:
    return pixels.reshape(-1, pixels.shape[-1])


def _at_once(maps: tuple[int, ...], kernel: Kernel | jax.ShapeDtypeStruct) -> int:
    """Images in one product."""
    columns = kernel.shape[3] if _few_channels(kernel) else 4 * kernel.shape[3]
    return _VALUES_PER_PRODUCT // (maps[0] * maps[1] * columns)


def _sum_dtype(images: Pixels) -> jnp.dtype:
    """The precision of sums: a sum over a batch in bfloat16, of 8 bits, would lose most terms."""
    return jnp.dtype(jnp.float32) if images.dtype == jnp.bfloat16 else images.dtype
