// AMX int8: 16 rows by 16 columns by 64 steps of the depth in one instruction. What is not a product of tiles is done
// with AVX-512, which also multiplies a few rows, whose time goes into reading the weights, and floats.
//
// Rows are laid out as [padded_depth] of each of the 16 rows of a pass, those that are not there being zero.
#pragma once

#include "avx512_vnni.h"
#include "attention.h"
#include "product.h"
#include "rows.h"

namespace {

constexpr size_t FEW_ROWS = 4;
constexpr size_t TILE_DEPTH = 64;
constexpr size_t TILE_ROWS = 16;

bool by_tiles(int bits, size_t rows) { return bits != 32 && rows > FEW_ROWS; }

// Steps of the depth that one tile holds.
size_t tile_depth(const Weights& weights) { return weights.block < TILE_DEPTH ? weights.block : TILE_DEPTH; }

size_t amx_pass_rows(int bits, size_t rows) { return by_tiles(bits, rows) ? TILE_ROWS : Avx512Vnni::MAX_PASS_ROWS; }

void prepare_for_tiles(const Weights& weights, const Norm& norm, const float* rows, size_t begin, size_t end, const Activations& to) {
    if (!by_tiles(weights.bits, to.passes.rows)) return prepare_rows<Avx512Vnni>(weights, norm, rows, begin, end, to);
    float normalized[MAX_NORM_DEPTH];
    const size_t depth = weights.padded_depth();
    for (size_t pass = 0; pass < to.passes.count; ++pass) {
        const size_t first = to.passes.first(pass), size = to.passes.size(pass);
        auto* const values = reinterpret_cast<int8_t*>(to.pass_values(weights, pass));
        for (size_t row = first > begin ? first : begin; row < first + size && row < end; ++row) {
            const float* from = rows + row * weights.depth;
            if (norm.scale) {
                normalize_row<Avx512Vnni>(norm, from, weights.depth, normalized);
                from = normalized;
            }
            const size_t r = row - first;
            quantize_row<Avx512Vnni>(weights, from, r, size, to.pass_scales(weights, pass), to.pass_offsets(weights, pass),
                                     [&](size_t k, const int8_t (&lane)[LANES]) { std::memcpy(values + r * depth + k, lane, LANES); });
            if (r + 1 == size) std::memset(values + size * depth, 0, (TILE_ROWS - size) * depth);
        }
    }
}

// `depth` steps of a tile of weights, from nibbles to bytes.
ALWAYS_INLINE void unpack_nibbles(const uint8_t* from, size_t depth, uint8_t* to) {
    for (size_t k = 0; k < depth; k += 8, from += 64, to += 128) {
        _mm512_store_si512(to, Avx512Vnni::load_nibbles(from, 0));
        _mm512_store_si512(to + 64, Avx512Vnni::load_nibbles(from, 4));
    }
}

// Up to two passes of rows by up to two tiles of columns, so that each tile that is loaded is used twice.
//
// Nothing waits for what was begun just before: nibbles are unpacked one step ahead of the tiles that load them, and the
// sums of a block become floats while the tiles multiply the next block.
template <class Tiles, int BITS, int PASSES, int COLUMN_TILES>
void multiply_tiles(const Weights& weights, const Activations& rows, const Epilogue& epilogue, size_t pass, size_t tile, float* output) {
    using F = Floats<Avx512Vnni>;
    alignas(64) int32_t block_sums[PASSES][COLUMN_TILES][TILE_ROWS][TILE_COLUMNS];
    alignas(64) float sums[PASSES][COLUMN_TILES][TILE_ROWS][TILE_COLUMNS] = {};
    alignas(64) uint8_t unpacked[2][COLUMN_TILES][TILE_DEPTH * TILE_COLUMNS];
    const size_t depth = weights.padded_depth(), step = tile_depth(weights);
    const size_t steps = depth / step, block_steps = weights.block / step, step_bytes = step * TILE_COLUMNS * BITS / 8;
    const uint8_t* const activations[] = {rows.pass_values(weights, pass), rows.pass_values(weights, pass + PASSES - 1)};

    const auto packed = [&](size_t s, int t) { return weights.values + (tile + t) * weights.tile_bytes() + s * step_bytes; };
    const auto make_ready = [&](size_t s) {
        // Behind the end of a tile comes one of the next pair.
        size_t ahead = s * step_bytes + Avx512Vnni::PREFETCH;
        if (ahead >= weights.tile_bytes()) ahead += (COLUMN_TILES - 1) * weights.tile_bytes();
        for (int t = 0; t < COLUMN_TILES; ++t) {
            if (BITS == 4 && s < steps) unpack_nibbles(packed(s, t), step, unpacked[s % 2][t]);
            for (size_t line = 0; line < step_bytes; line += 64) Avx512Vnni::prefetch(packed(0, t) + ahead + line);
        }
    };
    const auto bytes = [&](size_t s, int t) { return BITS == 4 ? unpacked[s % 2][t] : packed(s, t); };
    const auto multiply_step = [&](size_t s) {
        Tiles::template load<4>(activations[0] + s * step, depth);
        Tiles::template load<6>(bytes(s, 0), 4 * TILE_COLUMNS);
        Tiles::template multiply<0, 4, 6>();
        if constexpr (COLUMN_TILES == 2) {
            Tiles::template load<7>(bytes(s, 1), 4 * TILE_COLUMNS);
            Tiles::template multiply<1, 4, 7>();
        }
        if constexpr (PASSES == 2) {
            Tiles::template load<5>(activations[1] + s * step, depth);
            Tiles::template multiply<2, 5, 6>();
        }
        if constexpr (PASSES == 2 && COLUMN_TILES == 2) Tiles::template multiply<3, 5, 7>();
    };
    const auto add_block = [&](size_t b) {
        for (int p = 0; p < PASSES; ++p) {
            const size_t size = rows.passes.size(pass + p);
            const float* const row_scales = rows.pass_scales(weights, pass + p) + b * size;
            const int32_t* const offsets = rows.pass_offsets(weights, pass + p) + b * size;
            for (int t = 0; t < COLUMN_TILES; ++t) {
                const F column_scales = F::load(weights.scales + ((tile + t) * weights.blocks + b) * TILE_COLUMNS);
                for (size_t r = 0; r < size; ++r) {
                    const auto block = Ints<Avx512Vnni>::load(block_sums[p][t][r]) + Ints<Avx512Vnni>::all(offsets[r]);
                    const F before = F::load(sums[p][t][r]);
                    block.to_float().times_plus(column_scales * F::all(row_scales[r]), before).store(sums[p][t][r]);
                }
            }
        }
    };

    make_ready(0);
    for (size_t b = 0; b < weights.blocks; ++b) {
        Tiles::template zero<0>();
        if constexpr (COLUMN_TILES == 2) Tiles::template zero<1>();
        if constexpr (PASSES == 2) Tiles::template zero<2>();
        if constexpr (PASSES == 2 && COLUMN_TILES == 2) Tiles::template zero<3>();
        for (size_t s = b * block_steps; s < (b + 1) * block_steps; ++s) {
            make_ready(s + 1);
            multiply_step(s);
        }
        if (b > 0) add_block(b - 1);
        constexpr size_t STRIDE = TILE_COLUMNS * sizeof(int32_t);
        Tiles::template store<0>(block_sums[0][0], STRIDE);
        if constexpr (COLUMN_TILES == 2) Tiles::template store<1>(block_sums[0][1], STRIDE);
        if constexpr (PASSES == 2) Tiles::template store<2>(block_sums[1][0], STRIDE);
        if constexpr (PASSES == 2 && COLUMN_TILES == 2) Tiles::template store<3>(block_sums[1][1], STRIDE);
    }
    add_block(weights.blocks - 1);
    for (int p = 0; p < PASSES; ++p)
        for (int t = 0; t < COLUMN_TILES; ++t)
            for (size_t r = 0; r < rows.passes.size(pass + p); ++r)
                finish<Avx512Vnni>(weights, epilogue, rows.passes.first(pass + p) + r, tile + t, F::load(sums[p][t][r]), output);
}

template <class Tiles, int BITS>
MultiplyTile tiles_kernel(bool two_passes, bool two_tiles) {
    if (two_passes) return two_tiles ? multiply_tiles<Tiles, BITS, 2, 2> : multiply_tiles<Tiles, BITS, 2, 1>;
    return two_tiles ? multiply_tiles<Tiles, BITS, 1, 2> : multiply_tiles<Tiles, BITS, 1, 1>;
}

template <class Tiles>
void multiply_by_tiles(const Weights& weights, const Activations& rows, const Epilogue& epilogue, size_t begin, size_t end, float* output) {
    if (!by_tiles(weights.bits, rows.passes.rows)) return multiply_rows<Avx512Vnni>(weights, rows, epilogue, begin, end, output);
    Tiles::configure(tile_depth(weights));
    for (size_t tile = begin; tile < end; tile += 2) {
        for (size_t pass = 0; pass < rows.passes.count; pass += 2) {
            const bool two_passes = pass + 1 < rows.passes.count, two_tiles = tile + 1 < end;
            const auto kernel = weights.bits == 8 ? tiles_kernel<Tiles, 8>(two_passes, two_tiles) : tiles_kernel<Tiles, 4>(two_passes, two_tiles);
            kernel(weights, rows, epilogue, pass, tile, output);
        }
    }
    Tiles::release();
}

}  // namespace
