import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from coala_jax.ops import convolution
from coala_jax.ops.convolution import convolve, convolve_transposed

SIZES = [
    pytest.param((1, 2, 2, 1, 1), id="smallest"),
    pytest.param((2, 6, 4, 3, 5), id="not-square"),
    pytest.param((3, 4, 8, 2, 3), id="odd-batch"),
    pytest.param((4, 12, 12, 4, 1), id="one-filter"),
]


def random(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("transposed", [False, True], ids=["strided", "transposed"])
def test_equals_pytorch_in_value_and_gradients(size, transposed):
    batch, height, width, channels_in, channels_out = size
    kernel = random((4, 4, channels_in, channels_out), 1)
    if transposed:
        images = random((batch, height, width, channels_out), 0)
        ours, theirs = convolve_transposed, torch.nn.functional.conv_transpose2d
    else:
        images = random((batch, height, width, channels_in), 0)
        ours, theirs = convolve, torch.nn.functional.conv2d
    torch_images = torch.tensor(images, requires_grad=True)
    torch_kernel = torch.tensor(kernel, requires_grad=True)
    wanted = theirs(
        torch_images.permute(0, 3, 1, 2).contiguous(),
        torch_kernel.permute(3, 2, 0, 1).contiguous(),
        stride=2,
        padding=1,
    ).permute(0, 2, 3, 1)
    weight = random(wanted.shape, 2)
    (wanted * torch.tensor(weight)).sum().backward()

    with jax.enable_x64(True):

        @jax.jit
        def compute(images, kernel, weight):
            value, pullback = jax.vjp(ours, images, kernel)
            return value, *pullback(weight)

        got, image_gradient, kernel_gradient = compute(images, kernel, weight)

    np.testing.assert_allclose(got, wanted.detach().numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(image_gradient, torch_images.grad.numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(kernel_gradient, torch_kernel.grad.numpy(), rtol=0, atol=1e-12)


@functools.partial(jax.jit, static_argnums=0)
def all_forms(form, images, small, kernel):
    """The convolution, its transpose and the gradient of its kernel, in the form of a platform."""
    forward, transpose, gradient = (
        getattr(convolution, f"_{name}_{form}")
        for name in ("forward", "transpose", "kernel_gradient")
    )
    return forward(images, kernel), transpose(small, kernel), gradient(images, small)


@pytest.mark.parametrize("size", SIZES)
def test_the_form_of_accelerators_equals_the_form_of_cpus(size):
    batch, height, width, channels_in, channels_out = size
    with jax.enable_x64(True):
        images = jnp.asarray(random((batch, height, width, channels_in), 0))
        small = jnp.asarray(random((batch, height // 2, width // 2, channels_out), 1))
        kernel = jnp.asarray(random((4, 4, channels_in, channels_out), 2))
        for products, xla in zip(
            all_forms("products", images, small, kernel),
            all_forms("xla", images, small, kernel),
            strict=True,
        ):
            np.testing.assert_allclose(products, xla, rtol=0, atol=1e-12)


def bfloat16(shape, seed):
    """Numbers that are the same in bfloat16 and float32."""
    return jnp.asarray(random(shape, seed), jnp.bfloat16)


def assert_near(got, wanted) -> None:
    """One rounding to 8 bits apart at most, after sums in float32."""
    got, wanted = (np.asarray(array, np.float64) for array in (got, wanted))
    np.testing.assert_allclose(got, wanted, rtol=2**-8, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("transposed", [False, True], ids=["strided", "transposed"])
def test_images_in_bfloat16_meet_a_float32_kernel(transposed):
    """Against float32 with the same numbers: results are rounded, the kernel's gradient is not."""
    ours = convolve_transposed if transposed else convolve
    images = bfloat16((4, 12, 12, 5 if transposed else 3), 0)
    kernel = bfloat16((4, 4, 3, 5), 1).astype(jnp.float32)
    weight = bfloat16((4, 24, 24, 3) if transposed else (4, 6, 6, 5), 2)

    @jax.jit
    def compute(images, weight):
        value, pullback = jax.vjp(ours, images, kernel)
        return value, *pullback(weight)

    found = compute(images, weight)
    assert [array.dtype.name for array in found] == ["bfloat16", "bfloat16", "float32"]
    wanted = compute(images.astype(jnp.float32), weight.astype(jnp.float32))
    for got, exact in zip(found, wanted, strict=True):
        assert_near(got, exact)
    np.testing.assert_allclose(found[2], wanted[2], rtol=0, atol=1e-6 * np.abs(wanted[2]).max())


@pytest.mark.parametrize("size", SIZES[1:3])
def test_both_forms_agree_in_bfloat16(size):
    batch, height, width, channels_in, channels_out = size
    images = bfloat16((batch, height, width, channels_in), 0)
    small = bfloat16((batch, height // 2, width // 2, channels_out), 1)
    kernel = bfloat16((4, 4, channels_in, channels_out), 2)
    given = images, small, kernel
    for products, xla in zip(all_forms("products", *given), all_forms("xla", *given), strict=True):
        assert products.dtype == xla.dtype
        assert_near(products, xla)


@pytest.mark.parametrize("form", ["products", "xla"])
def test_the_kernel_s_gradient_is_summed_in_float32(form):
    """Of 300 images of ones: bfloat16 has no whole numbers beyond 256, where 256 + 1 is 256."""
    images, gradient = (jnp.ones((300, n, n, 1), jnp.bfloat16) for n in (4, 2))
    found = getattr(convolution, f"_kernel_gradient_{form}")(images, gradient)
    assert found.dtype == jnp.float32
    # Of the two places of a stride along each side, the outer taps of the kernel see one.
    wanted = 300 * np.outer([1, 2, 2, 1], [1, 2, 2, 1])
    np.testing.assert_array_equal(found[:, :, 0, 0], wanted)


def test_each_platform_gets_its_own_form():
    """Matrix products for a CPU, XLA's convolution for a GPU and a TPU, found in the program."""
    images, kernel = jnp.zeros((2, 8, 8, 3)), jnp.zeros((4, 4, 3, 5))
    gradient = jax.grad(lambda i, k: convolve(i, k).sum(), argnums=(0, 1))
    for platform, has_convolution in (("cpu", False), ("cuda", True), ("tpu", True)):
        text = jax.export.export(jax.jit(gradient), platforms=[platform])(images, kernel)
        assert ("stablehlo.convolution" in text.mlir_module()) == has_convolution, platform
