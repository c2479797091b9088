// Sixteen lanes as four NEON registers.
#pragma once

#include <arm_neon.h>

#include "lanes.h"

namespace {

struct NeonLanes {
    typedef float Float __attribute__((vector_size(16)));
    typedef int32_t Int __attribute__((vector_size(16)));

    static constexpr bool WIDE_ACTIVATIONS = false;
    static constexpr int PREFETCH = 12288;

    static ALWAYS_INLINE Float fused(Float a, Float b, Float c) { return (Float)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
    static ALWAYS_INLINE float sum(Float lanes) {
        const float32x2_t two = vadd_f32(vget_low_f32((float32x4_t)lanes), vget_high_f32((float32x4_t)lanes));
        return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
    }
    static ALWAYS_INLINE void load_first(const float* from, size_t count, Float* part) {
        float lane[LANES] = {};
        std::memcpy(lane, from, count * sizeof *lane);
        std::memcpy(part, lane, sizeof lane);
    }
    static ALWAYS_INLINE void store_first(const Float* part, size_t count, float* to) {
        float lane[LANES];
        std::memcpy(lane, part, sizeof lane);
        std::memcpy(to, lane, count * sizeof *lane);
    }
    static ALWAYS_INLINE void prefetch(const uint8_t* from) { __builtin_prefetch(from); }
    static ALWAYS_INLINE uint8x16_t nibbles(const uint8_t* from, int shift) {
        return shift ? vshrq_n_u8(vld1q_u8(from), 4) : vandq_u8(vld1q_u8(from), vdupq_n_u8(15));
    }
};

}  // namespace
