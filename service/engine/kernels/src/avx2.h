// Sixteen lanes as two AVX2 registers.
#pragma once

#include <immintrin.h>

#include "lanes.h"

namespace {

// Lane i + 4 is added to lane i, then 2 and 1.
ALWAYS_INLINE float sum_of_eight(__m256 lanes) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

struct Avx2Lanes {
    typedef float Float __attribute__((vector_size(32)));
    typedef int32_t Int __attribute__((vector_size(32)));

    static constexpr int PREFETCH = 12288;

    static ALWAYS_INLINE Float fused(Float a, Float b, Float c) { return (Float)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
    static ALWAYS_INLINE float sum(Float lanes) { return sum_of_eight((__m256)lanes); }
    static ALWAYS_INLINE __m256i first(size_t count, int part) {
        const __m256i lane = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(8 * part));
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lane);
    }
    static ALWAYS_INLINE void load_first(const float* from, size_t count, Float* part) {
        for (int i = 0; i < 2; ++i) part[i] = (Float)_mm256_maskload_ps(from + 8 * i, first(count, i));
    }
    static ALWAYS_INLINE void store_first(const Float* part, size_t count, float* to) {
        for (int i = 0; i < 2; ++i) _mm256_maskstore_ps(to + 8 * i, first(count, i), (__m256)part[i]);
    }
    static ALWAYS_INLINE void prefetch(const uint8_t* from) { _mm_prefetch(reinterpret_cast<const char*>(from), _MM_HINT_T0); }
    static ALWAYS_INLINE __m256i load(const uint8_t* from) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)); }
    static ALWAYS_INLINE __m256i nibbles(const uint8_t* from, int shift) {
        return _mm256_and_si256(_mm256_srli_epi16(load(from), shift), _mm256_set1_epi8(15));
    }
};

}  // namespace
