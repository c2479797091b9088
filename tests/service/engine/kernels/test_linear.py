"""The operator Linear beside exact arithmetic, on every instruction set of this processor."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.service.engine.kernels.operators import EPSILON, Matrix, exact_product, linear, random_matrix

SCHEMES = ((8, 256), (8, 128), (8, 16), (4, 128), (4, 32), (4, 16))
# Columns that are no multiple of 16, depths of one block only and of no whole number of blocks.
SHAPES = ((33, 256), (16, 128), (50, 272), (100, 1280), (1, 16))
ROWS = (1, 2, 3, 5, 10, 14, 15, 17, 40, 200)
ROUNDING = 1e-6


def rows_of(rng: np.random.Generator, rows: int, depth: int) -> NDArray[np.float32]:
    return rng.normal(size=(rows, depth)).astype(np.float32)


def error_of(found: NDArray[np.float32], expected: NDArray[np.float64]) -> float:
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-30))


@pytest.mark.parametrize(("bits", "block"), SCHEMES)
def test_products_are_those_of_whole_numbers(built: Path, instruction_sets: list[str], bits: int, block: int) -> None:
    rng = np.random.default_rng(bits * block)
    for columns, depth in SHAPES:
        matrix = random_matrix(rng, columns, depth, bits, block)
        for rows in ROWS:
            x = rows_of(rng, rows, depth)
            expected = exact_product(x, matrix)
            for kernels in instruction_sets:
                found = linear(built, kernels, x, matrix)
                assert error_of(found, expected) < ROUNDING, (kernels, columns, depth, rows)


@pytest.mark.parametrize("bits", [8, 4])
def test_extreme_weights_and_activations_do_not_saturate(built: Path, instruction_sets: list[str], bits: int) -> None:
    block, depth = 128, 512
    for weight in (0, 255):
        packed = np.full((20, depth // block, block * bits // 8), weight, np.uint8)
        matrix = Matrix(packed, np.ones((20, depth // block), np.float32), bits, block, depth)
        for value in (1.0, -1.0):
            x = np.full((5, depth), value, np.float32)
            for kernels in instruction_sets:
                assert error_of(linear(built, kernels, x, matrix), exact_product(x, matrix)) < ROUNDING


def test_rows_of_zeros_and_of_huge_and_tiny_values_keep_to_themselves(built: Path, instruction_sets: list[str]) -> None:
    rng = np.random.default_rng(2)
    matrix = random_matrix(rng, 40, 256, 8, 128)
    x = rows_of(rng, 8, 256)
    x[1], x[3], x[5], x[6] = 0.0, x[3] * 1e30, x[5] * 1e-30, x[6] * 1e-40
    for kernels in instruction_sets:
        found = linear(built, kernels, x, matrix)
        assert (found[1] == 0).all()
        assert (found[6] == 0).all(), "what is below 1e-36 counts as zero"
        for row in (0, 2, 3, 4, 5, 7):
            assert error_of(found[row : row + 1], exact_product(x[row : row + 1], matrix)) < ROUNDING


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("rows", [1, 3, 12, 40])
def test_a_nan_or_an_infinity_spoils_its_own_row_and_no_other(
    built: Path, instruction_sets: list[str], value: float, rows: int
) -> None:
    rng = np.random.default_rng(3)
    matrix = random_matrix(rng, 40, 256, 8, 128)
    x = rows_of(rng, rows, 256)
    expected = exact_product(x, matrix)
    x[rows // 2, 100] = value
    others = np.arange(rows) != rows // 2
    for kernels in instruction_sets:
        found = linear(built, kernels, x, matrix)
        assert np.isnan(found[rows // 2]).all()
        assert np.isfinite(found[others]).all()
        if others.any():
            assert error_of(found[others], expected[others]) < ROUNDING


@pytest.mark.parametrize(("bits", "block"), [(8, 256), (4, 128), (32, 0)])
def test_a_row_is_the_same_bit_for_bit_alone_in_company_on_any_threads_and_instruction_set(
    built: Path, instruction_sets: list[str], bits: int, block: int
) -> None:
    rng = np.random.default_rng(4)
    depth, columns = 512, 300
    plain = rng.normal(size=(depth, columns)).astype(np.float32)
    matrix = plain if bits == 32 else random_matrix(rng, columns, depth, bits, block)
    bias = rng.normal(size=columns).astype(np.float32)
    norm = (rows_of(rng, 1, depth)[0], rows_of(rng, 1, depth)[0])
    x, residual = rows_of(rng, 61, depth), rows_of(rng, 61, columns)
    expected = linear(built, instruction_sets[0], x, matrix, bias=bias, norm=norm, residual=residual, gelu=True)
    for kernels in instruction_sets:
        for threads in (1, 2, 3):
            for first, last in ((0, 61), (0, 1), (7, 9), (20, 31), (60, 61), (3, 58)):
                found = linear(
                    built,
                    kernels,
                    x[first:last],
                    matrix,
                    bias=bias,
                    norm=norm,
                    residual=residual[first:last],
                    gelu=True,
                    threads=threads,
                )
                assert found.tobytes() == expected[first:last].tobytes(), (kernels, threads, first, last)


def test_floats_norm_bias_gelu_and_residual_are_what_they_say(built: Path, instruction_sets: list[str]) -> None:
    rng = np.random.default_rng(5)
    for depth, columns in ((200, 77), (40, 16), (3, 5)):
        weights = (rng.normal(size=(depth, columns)) / math.sqrt(depth)).astype(np.float32)
        x, residual = 3 + rows_of(rng, 9, depth), rows_of(rng, 9, columns)
        bias, scale, shift = rows_of(rng, 1, columns)[0], rows_of(rng, 1, depth)[0], rows_of(rng, 1, depth)[0]
        wide = x.astype(np.float64)
        centred = wide - wide.mean(-1, keepdims=True)
        normalized = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON) * scale + shift
        inner = normalized @ weights.astype(np.float64) + bias
        expected = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2))) + residual
        for kernels in instruction_sets:
            found = linear(built, kernels, x, weights, bias=bias, norm=(scale, shift), residual=residual, gelu=True)
            assert np.abs(found - expected).max() < 2e-5, kernels


def test_what_does_not_fit_is_refused_in_words(built: Path, instruction_sets: list[str]) -> None:
    rng = np.random.default_rng(6)
    matrix, x = random_matrix(rng, 8, 256, 8, 128), rows_of(rng, 2, 256)
    kernels = instruction_sets[0]
    with pytest.raises(Exception, match="no kernels called 'abacus'"):
        linear(built, "abacus", x, matrix)
    with pytest.raises(Exception, match="x must have K channels"):
        linear(built, kernels, rows_of(rng, 2, 255), matrix)
    with pytest.raises(Exception, match="the bias must have N values"):
        linear(built, kernels, x, matrix, bias=np.zeros(9, np.float32))
    with pytest.raises(Exception, match="bias or residual has another size"):
        linear(built, kernels, x, matrix, residual=np.zeros((3, 8), np.float32))
    with pytest.raises(Exception, match="block_size must be a power of two"):
        linear(built, kernels, x, Matrix(matrix.packed, matrix.scales, 8, 100, 256))
    with pytest.raises(Exception, match="bits must be 4, 8 or 32"):
        linear(built, kernels, x, Matrix(matrix.packed, matrix.scales, 2, 128, 256))
    with pytest.raises(Exception, match="the weights must be uint8"):
        linear(built, kernels, x, Matrix(matrix.packed[:, :, :100], matrix.scales, 8, 128, 256))


def test_no_rows_are_no_products(built: Path, instruction_sets: list[str]) -> None:
    matrix = random_matrix(np.random.default_rng(7), 8, 256, 8, 128)
    for kernels in instruction_sets:
        assert linear(built, kernels, np.zeros((0, 256), np.float32), matrix).shape == (0, 8)
