// NEON with products of matrices: two columns by two rows, eight steps of the depth, in one instruction.
#if defined(__aarch64__)
#include <arm_neon.h>

#include <cmath>
#include <initializer_list>
#include <utility>

#include "cpu.h"
#include "kernels.h"
#include "target.h"

TARGET("arch=armv8.2-a+dotprod+i8mm")

#include "attention.h"
#include "neon.h"
#include "product.h"
#include "rows.h"

namespace {

struct NeonI8mm : NeonLanes {
    static constexpr int ZERO_POINT_8 = 128, ZERO_POINT_4 = 8;
    static constexpr int MAX_PASS_ROWS = 6;

    template <int BITS, int ROWS>
    static ALWAYS_INLINE void add_block(size_t loads, const uint8_t*& values, const int32_t*& activations, Ints<NeonI8mm> (&sums)[ROWS]) {
        constexpr int PAIRS = (ROWS + 1) / 2;
        // Of two rows: [columns 4q and 4q + 1, or 4q + 2 and 4q + 3][row]
        int32x4_t products[PAIRS][4][2];
        for (auto& pair : products)
            for (auto& quarter : pair) quarter[0] = quarter[1] = vdupq_n_s32(0);
        for (size_t i = 0; i < loads; i += BITS == 8 ? 2 : 1) {
            prefetch(values + PREFETCH);
            if (BITS == 8) prefetch(values + PREFETCH + 64);
            int8x16_t rows[PAIRS];
            for (int p = 0; p < PAIRS; ++p) rows[p] = two_rows<ROWS>(activations, 2 * p);
            for (int q = 0; q < 4; ++q) {
                const uint8x16_t first = BITS == 8 ? vld1q_u8(values + 16 * q) : nibbles(values + 16 * q, 0);
                const uint8x16_t next = BITS == 8 ? vld1q_u8(values + 64 + 16 * q) : nibbles(values + 16 * q, 4);
                const uint32x4_t four = vreinterpretq_u32_u8(first), four_more = vreinterpretq_u32_u8(next);
                const uint8x16_t columns[] = {vreinterpretq_u8_u32(vzip1q_u32(four, four_more)), vreinterpretq_u8_u32(vzip2q_u32(four, four_more))};
                for (int p = 0; p < PAIRS; ++p)
                    for (int half = 0; half < 2; ++half) products[p][q][half] = vusmmlaq_s32(products[p][q][half], columns[half], rows[p]);
            }
            values += BITS == 8 ? 128 : 64;
            activations += 2 * ROWS;
        }
        for (int r = 0; r < ROWS; ++r)
            for (int q = 0; q < 4; ++q) {
                const int32x4_t(&halves)[2] = products[r / 2][q];
                sums[r].part[q] += (Int)(r % 2 ? vuzp2q_s32(halves[0], halves[1]) : vuzp1q_s32(halves[0], halves[1]));
            }
    }

    // Eight steps of the depth of two rows; of the last row twice where there is no other.
    template <int ROWS>
    static ALWAYS_INLINE int8x16_t two_rows(const int32_t* activations, int row) {
        const bool both = row + 1 < ROWS;
        const int32x2_t first = both ? vld1_s32(activations + row) : vdup_n_s32(activations[row]);
        const int32x2_t next = both ? vld1_s32(activations + ROWS + row) : vdup_n_s32(activations[ROWS + row]);
        return vreinterpretq_s8_s32(vcombine_s32(vzip1_s32(first, next), vzip2_s32(first, next)));
    }
};

bool supported() { return cpu().i8mm; }

}  // namespace

extern const Kernels NEON_I8MM = {
    "neon_i8mm", "NEON i8mm", supported, pass_rows<NeonI8mm>, prepare_rows<NeonI8mm>, multiply_rows<NeonI8mm>, attend_rows<NeonI8mm>,
};

END_TARGET
#endif
