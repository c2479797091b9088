// NEON with the dot product of bytes, which are signed: bytes of weights are shifted by 128 as they are read.
#if defined(__aarch64__)
#include <arm_neon.h>

#include <cmath>
#include <initializer_list>
#include <utility>

#include "cpu.h"
#include "kernels.h"
#include "target.h"

TARGET("arch=armv8.2-a+dotprod")

#include "attention.h"
#include "dot_products.h"
#include "neon.h"
#include "product.h"
#include "rows.h"

namespace {

struct NeonDot : NeonLanes {
    static constexpr int ZERO_POINT_8 = 0, ZERO_POINT_4 = 8;
    static constexpr int MAX_PASS_ROWS = 6;

    struct Bytes {
        int8x16_t weight[4];
    };

    static ALWAYS_INLINE Bytes load_bytes(const uint8_t* from) {
        Bytes bytes;
        for (int i = 0; i < 4; ++i) bytes.weight[i] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(from + 16 * i), vdupq_n_u8(128)));
        return bytes;
    }
    static ALWAYS_INLINE Bytes load_nibbles(const uint8_t* from, int shift) {
        Bytes bytes;
        for (int i = 0; i < 4; ++i) bytes.weight[i] = vreinterpretq_s8_u8(nibbles(from + 16 * i, shift));
        return bytes;
    }
    static ALWAYS_INLINE Ints<NeonDot> dot(Ints<NeonDot> sums, const Bytes& bytes, int32_t activations) {
        const int8x16_t four = vreinterpretq_s8_s32(vdupq_n_s32(activations));
        for (int i = 0; i < 4; ++i) sums.part[i] = (Int)vdotq_s32((int32x4_t)sums.part[i], bytes.weight[i], four);
        return sums;
    }
    template <int BITS, int ROWS>
    static ALWAYS_INLINE void add_block(size_t loads, const uint8_t*& values, const int32_t*& activations, Ints<NeonDot> (&sums)[ROWS]) {
        add_dot_products<NeonDot, BITS>(loads, values, activations, sums);
    }
};

bool supported() { return cpu().dot_product; }

}  // namespace

extern const Kernels NEON_DOT = {
    "neon_dot", "NEON dot product", supported, pass_rows<NeonDot>, prepare_rows<NeonDot>, multiply_rows<NeonDot>, attend_rows<NeonDot>,
};

END_TARGET
#endif
