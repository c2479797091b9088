#include "packing.h"

#include <algorithm>
#include <cstring>

namespace {

// Four bytes of a column as they stand in a tile.
uint32_t four_bytes(const uint8_t* from) {
    uint32_t four;
    std::memcpy(&four, from, sizeof four);
    return four;
}

// Eight nibbles of a column: the first four in the low halves of four bytes, the next four in the high ones.
uint32_t eight_nibbles(const uint8_t* from) {
    const uint32_t a = from[0], b = from[1], c = from[2], d = from[3];
    return ((a & 15) | (c & 15) << 4) | (a >> 4 | (c & 240)) << 8 | ((b & 15) | (d & 15) << 4) << 16 | (b >> 4 | (d & 240)) << 24;
}

template <uint32_t (*TAKE)(const uint8_t*)>
void pack_values(const Weights& weights, const uint8_t* values, uint8_t* packed) {
    const size_t column_bytes = weights.padded_depth() * weights.bits / 8;
    for (size_t tile = 0; tile < weights.tiles(); ++tile) {
        const uint8_t* const from = values + tile * TILE_COLUMNS * column_bytes;
        const size_t count = std::min<size_t>(TILE_COLUMNS, weights.columns - tile * TILE_COLUMNS);
        uint8_t* to = packed + tile * weights.tile_bytes();
        for (size_t k = 0; k < column_bytes; k += 4, to += 4 * TILE_COLUMNS)
            for (size_t lane = 0; lane < count; ++lane) {
                const uint32_t taken = TAKE(from + lane * column_bytes + k);
                std::memcpy(to + 4 * lane, &taken, sizeof taken);
            }
    }
}

void pack_scales(const Weights& weights, const float* scales, float* packed) {
    for (size_t column = 0; column < weights.columns; ++column)
        for (size_t b = 0; b < weights.blocks; ++b)
            packed[(column / TILE_COLUMNS * weights.blocks + b) * TILE_COLUMNS + column % TILE_COLUMNS] = scales[column * weights.blocks + b];
}

}  // namespace

void pack(const Weights& weights, const uint8_t* values, const float* scales, uint8_t* packed, float* packed_scales) {
    const auto pack_values_of = weights.bits == 8 ? pack_values<four_bytes> : pack_values<eight_nibbles>;
    pack_values_of(weights, values, packed);
    pack_scales(weights, scales, packed_scales);
}

void pack_floats(const Weights& weights, const float* values, float* packed) {
    for (size_t tile = 0; tile < weights.tiles(); ++tile) {
        const size_t count = std::min<size_t>(TILE_COLUMNS, weights.columns - tile * TILE_COLUMNS);
        for (size_t k = 0; k < weights.depth; ++k)
            std::memcpy(packed + (tile * weights.depth + k) * TILE_COLUMNS, values + k * weights.columns + tile * TILE_COLUMNS, count * sizeof(float));
    }
}
