// AVX2 without VNNI. What multiplies bytes there sums pairs of products in 16 bits, which must not saturate: bytes are
// widened to 16 bits, but nibbles are small enough, and the sums of eight such pairs too.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cmath>
#include <initializer_list>
#include <utility>

#include "cpu.h"
#include "kernels.h"
#include "target.h"

TARGET("avx2,fma")

#include "avx2.h"
#include "attention.h"
#include "product.h"
#include "rows.h"

namespace {

struct Avx2 : Avx2Lanes {
    static constexpr int ZERO_POINT_8 = 128, ZERO_POINT_4 = 8;
    static constexpr bool WIDE_ACTIVATIONS = true;
    static constexpr int MAX_PASS_ROWS = 4;
    // Of pairs, each at most 2 * 15 * 127, in 16 bits.
    static constexpr size_t PAIRS = 8;

    template <int BITS, int ROWS>
    static ALWAYS_INLINE void add_block(size_t loads, const uint8_t*& values, const int32_t*& activations, Ints<Avx2> (&sums)[ROWS]) {
        if constexpr (BITS == 8) {
            for (size_t i = 0; i < loads; ++i, values += 64) {
                prefetch(values + PREFETCH);
                add_words(_mm256_and_si256(load(values), _mm256_set1_epi16(255)), _mm256_and_si256(load(values + 32), _mm256_set1_epi16(255)), activations, sums);
                add_words(_mm256_srli_epi16(load(values), 8), _mm256_srli_epi16(load(values + 32), 8), activations, sums);
            }
        } else {
            for (size_t begin = 0; begin < loads; begin += PAIRS / 2) {
                __m256i pairs[ROWS][2];
                for (int r = 0; r < ROWS; ++r) pairs[r][0] = pairs[r][1] = _mm256_setzero_si256();
                for (size_t i = begin; i < loads && i < begin + PAIRS / 2; ++i, values += 64) {
                    prefetch(values + PREFETCH);
                    for (int shift : {0, 4}) {
                        const __m256i first = nibbles(values, shift), second = nibbles(values + 32, shift);
                        for (int r = 0; r < ROWS; ++r) {
                            const __m256i four = _mm256_set1_epi32(*activations++);
                            pairs[r][0] = _mm256_add_epi16(pairs[r][0], _mm256_maddubs_epi16(first, four));
                            pairs[r][1] = _mm256_add_epi16(pairs[r][1], _mm256_maddubs_epi16(second, four));
                            keep(pairs[r]);
                        }
                    }
                }
                for (int r = 0; r < ROWS; ++r)
                    for (int i = 0; i < 2; ++i) sums[r].part[i] += (Int)_mm256_madd_epi16(pairs[r][i], _mm256_set1_epi16(1));
            }
        }
    }
    // Holds both in registers here, so that compilers do not put off what goes into them until they have too few.
    template <class Register>
    static ALWAYS_INLINE void keep(Register (&sums)[2]) { __asm__ volatile("" : "+x"(sums[0]), "+x"(sums[1])); }
    template <int ROWS>
    static ALWAYS_INLINE void add_words(__m256i first, __m256i second, const int32_t*& activations, Ints<Avx2> (&sums)[ROWS]) {
        for (int r = 0; r < ROWS; ++r) {
            const __m256i two = _mm256_set1_epi32(*activations++);
            sums[r].part[0] += (Int)_mm256_madd_epi16(first, two);
            sums[r].part[1] += (Int)_mm256_madd_epi16(second, two);
            keep(sums[r].part);
        }
    }
};

bool supported() { return cpu().avx2; }

}  // namespace

extern const Kernels AVX2 = {
    "avx2", "AVX2", supported, pass_rows<Avx2>, prepare_rows<Avx2>, multiply_rows<Avx2>, attend_rows<Avx2>,
};

END_TARGET
#endif
