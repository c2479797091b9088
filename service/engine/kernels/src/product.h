// Products of rows with one tile of 16 columns after the other.
//
// The sums over a block are int32 and exact; blocks are added in order, in float. So a row's product is the same bit for
// bit whatever rows share the pass, whichever threads work, and whatever the instruction set.
#pragma once

#include <utility>

#include "functions.h"
#include "kernels.h"
#include "lanes.h"

namespace {

template <class Isa, int BITS, int ROWS>
ALWAYS_INLINE void add_blocks(const Weights& weights, size_t tile, const int32_t* activations, const float* row_scales,
                              const int32_t* offsets, Floats<Isa> (&sums)[ROWS]) {
    const uint8_t* values = weights.values + tile * weights.tile_bytes();
    const float* scales = weights.scales + tile * weights.blocks * TILE_COLUMNS;
    const size_t loads = weights.block * BITS / 32;
    for (size_t b = 0; b < weights.blocks; ++b) {
        Ints<Isa> block[ROWS];
        for (int r = 0; r < ROWS; ++r) block[r] = Ints<Isa>::all(offsets[r]);
        Isa::template add_block<BITS, ROWS>(loads, values, activations, block);
        const Floats<Isa> column_scales = Floats<Isa>::load(scales);
        for (int r = 0; r < ROWS; ++r)
            sums[r] = block[r].to_float().times_plus(column_scales * Floats<Isa>::all(row_scales[r]), sums[r]);
        scales += TILE_COLUMNS;
        row_scales += ROWS;
        offsets += ROWS;
    }
}

template <class Isa, int ROWS>
ALWAYS_INLINE void add_floats(const Weights& weights, size_t tile, const float* activations, Floats<Isa> (&sums)[ROWS]) {
    const float* values = reinterpret_cast<const float*>(weights.values) + tile * weights.depth * TILE_COLUMNS;
    for (size_t k = 0; k < weights.depth; ++k) {
        const Floats<Isa> column = Floats<Isa>::load(values);
        for (int r = 0; r < ROWS; ++r) sums[r] = column.times_plus(Floats<Isa>::all(activations[r]), sums[r]);
        values += TILE_COLUMNS;
        activations += ROWS;
    }
}

// Sums of one row and tile into the output, with what comes after the product.
template <class Isa>
ALWAYS_INLINE void finish(const Weights& weights, const Epilogue& epilogue, size_t row, size_t tile, Floats<Isa> sums, float* output) {
    using F = Floats<Isa>;
    const size_t column = tile * TILE_COLUMNS, count = weights.columns - column;
    const size_t at = row * weights.columns + column;
    if (epilogue.bias) sums = sums + F::load(epilogue.bias + column, count);
    if (epilogue.gelu) sums = gelu<Isa>(sums);
    if (epilogue.residual) sums = sums + F::load(epilogue.residual + at, count);
    sums.store(output + at, count);
}

template <class Isa, int BITS, int ROWS>
void multiply_tile(const Weights& weights, const Activations& rows, const Epilogue& epilogue, size_t pass, size_t tile, float* output) {
    Floats<Isa> sums[ROWS];
    for (int r = 0; r < ROWS; ++r) sums[r] = Floats<Isa>::all(0.0f);
    if constexpr (BITS == 32) {
        add_floats<Isa, ROWS>(weights, tile, reinterpret_cast<const float*>(rows.pass_values(weights, pass)), sums);
    } else {
        add_blocks<Isa, BITS, ROWS>(
            weights, tile, reinterpret_cast<const int32_t*>(rows.pass_values(weights, pass)),
            rows.pass_scales(weights, pass), rows.pass_offsets(weights, pass), sums);
    }
    const size_t first = rows.passes.first(pass);
    for (int r = 0; r < ROWS; ++r) finish<Isa>(weights, epilogue, first + r, tile, sums[r], output);
}

using MultiplyTile = void (*)(const Weights&, const Activations&, const Epilogue&, size_t, size_t, float*);

template <class Isa, int BITS, int... ROWS>
MultiplyTile tile_kernel(size_t rows, std::integer_sequence<int, ROWS...>) {
    static constexpr MultiplyTile kernels[] = {multiply_tile<Isa, BITS, ROWS + 1>...};
    return kernels[rows - 1];
}

template <class Isa>
size_t pass_rows(int, size_t) {
    return Isa::MAX_PASS_ROWS;
}

// See `Kernels::multiply`. All passes go over a tile while it is in the cache.
template <class Isa>
void multiply_rows(const Weights& weights, const Activations& rows, const Epilogue& epilogue, size_t begin, size_t end, float* output) {
    constexpr std::make_integer_sequence<int, Isa::MAX_PASS_ROWS> sizes{};
    for (size_t tile = begin; tile < end; ++tile) {
        for (size_t pass = 0; pass < rows.passes.count; ++pass) {
            const size_t size = rows.passes.size(pass);
            const MultiplyTile kernel = weights.bits == 8   ? tile_kernel<Isa, 8>(size, sizes)
                                        : weights.bits == 4 ? tile_kernel<Isa, 4>(size, sizes)
                                                            : tile_kernel<Isa, 32>(size, sizes);
            kernel(weights, rows, epilogue, pass, tile, output);
        }
    }
}

}  // namespace
