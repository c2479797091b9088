// The lanes of AVX-512 with VNNI, which AMX shares.
#pragma once

#include <immintrin.h>

#include "avx2.h"
#include "dot_products.h"
#include "lanes.h"

namespace {

struct Avx512Vnni {
    typedef float Float __attribute__((vector_size(64)));
    typedef int32_t Int __attribute__((vector_size(64)));

    static constexpr int ZERO_POINT_8 = 128, ZERO_POINT_4 = 8;
    static constexpr bool WIDE_ACTIVATIONS = false;
    // Sums, weights and a broadcast of this many rows fit into the 32 registers.
    static constexpr int MAX_PASS_ROWS = 14;
    static constexpr int PREFETCH = 12288;

    static ALWAYS_INLINE Float fused(Float a, Float b, Float c) { return (Float)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
    static ALWAYS_INLINE float sum(Float lanes) {
        // With a mask of ones, since gcc 12 warns of the plain functions.
        const __m256 lower = _mm512_maskz_extractf32x8_ps(255, (__m512)lanes, 0);
        const __m256 upper = _mm512_maskz_extractf32x8_ps(255, (__m512)lanes, 1);
        return sum_of_eight(_mm256_add_ps(lower, upper));
    }
    static ALWAYS_INLINE void load_first(const float* from, size_t count, Float* part) {
        *part = (Float)_mm512_maskz_loadu_ps((1u << count) - 1, from);
    }
    static ALWAYS_INLINE void store_first(const Float* part, size_t count, float* to) {
        _mm512_mask_storeu_ps(to, (1u << count) - 1, (__m512)*part);
    }
    static ALWAYS_INLINE void prefetch(const uint8_t* from) { _mm_prefetch(reinterpret_cast<const char*>(from), _MM_HINT_T0); }

    static ALWAYS_INLINE __m512i load_bytes(const uint8_t* from) { return _mm512_loadu_si512(from); }
    static ALWAYS_INLINE __m512i load_nibbles(const uint8_t* from, int shift) {
        return _mm512_and_si512(_mm512_srli_epi16(_mm512_loadu_si512(from), shift), _mm512_set1_epi8(15));
    }
    static ALWAYS_INLINE Ints<Avx512Vnni> dot(Ints<Avx512Vnni> sums, __m512i weights, int32_t activations) {
        sums.part[0] = (Int)_mm512_dpbusd_epi32((__m512i)sums.part[0], weights, _mm512_set1_epi32(activations));
        return sums;
    }
    template <int BITS, int ROWS>
    static ALWAYS_INLINE void add_block(size_t loads, const uint8_t*& values, const int32_t*& activations, Ints<Avx512Vnni> (&sums)[ROWS]) {
        add_dot_products<Avx512Vnni, BITS>(loads, values, activations, sums);
    }
};

}  // namespace
