// Sums over a block for instruction sets that multiply four unsigned by four signed bytes and add them up.
#pragma once

#include "lanes.h"

namespace {

// Adds to the sums of each row what the next `loads` registers of a tile give, and moves on behind them.
template <class Isa, int BITS, int ROWS>
ALWAYS_INLINE void add_dot_products(size_t loads, const uint8_t*& values, const int32_t*& activations, Ints<Isa> (&sums)[ROWS]) {
    for (size_t i = 0; i < loads; ++i) {
        Isa::prefetch(values + Isa::PREFETCH);
        if constexpr (BITS == 8) {
            const auto four = Isa::load_bytes(values);
            for (int r = 0; r < ROWS; ++r) sums[r] = Isa::dot(sums[r], four, activations[r]);
            activations += ROWS;
        } else {
            const auto low = Isa::load_nibbles(values, 0);
            for (int r = 0; r < ROWS; ++r) sums[r] = Isa::dot(sums[r], low, activations[r]);
            const auto high = Isa::load_nibbles(values, 4);
            for (int r = 0; r < ROWS; ++r) sums[r] = Isa::dot(sums[r], high, activations[ROWS + r]);
            activations += 2 * ROWS;
        }
        values += 4 * LANES;
    }
}

}  // namespace
