// The eight tile registers of AMX and the few instructions that are used of them. `tests` has a model of the same
// interface in plain C++, for processors without them.
//
// In assembly, since the compilers' own functions take the number of a tile as a literal only.
#pragma once

#include <immintrin.h>

namespace {

struct AmxTiles {
    // Tiles 0 to 3 hold sums, 16 rows of 16 int32; 4 and 5 activations, 16 rows of `depth` bytes; 6 and 7 weights,
    // depth / 4 rows of 16 columns by 4 bytes.
    static void configure(size_t depth) {
        struct alignas(64) {
            uint8_t palette, start_row, reserved[14];
            uint16_t row_bytes[16];
            uint8_t rows[16];
        } shape{};
        shape.palette = 1;
        for (int tile = 0; tile < 8; ++tile) {
            shape.row_bytes[tile] = static_cast<uint16_t>(tile == 4 || tile == 5 ? depth : 64);
            shape.rows[tile] = static_cast<uint8_t>(tile < 6 ? 16 : depth / 4);
        }
        _tile_loadconfig(&shape);
    }
    static void release() { _tile_release(); }

    template <int TILE>
    static ALWAYS_INLINE void zero() {
        __asm__ volatile("tilezero %%tmm%c0" : : "i"(TILE));
    }
    template <int TILE>
    static ALWAYS_INLINE void load(const void* from, size_t stride) {
        __asm__ volatile("tileloadd (%1,%2,1), %%tmm%c0" : : "i"(TILE), "r"(from), "r"(stride) : "memory");
    }
    template <int TILE>
    static ALWAYS_INLINE void store(void* to, size_t stride) {
        __asm__ volatile("tilestored %%tmm%c0, (%1,%2,1)" : : "i"(TILE), "r"(to), "r"(stride) : "memory");
    }
    // sums += signed activations times unsigned weights
    template <int SUMS, int ACTIVATIONS, int WEIGHTS>
    static ALWAYS_INLINE void multiply() {
        __asm__ volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(SUMS), "i"(ACTIVATIONS), "i"(WEIGHTS));
    }
};

}  // namespace
