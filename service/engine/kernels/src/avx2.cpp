// AVX2 without VNNI: pairs of products are summed in 16 bits, which must not saturate. Bytes are therefore multiplied as
// |weight| (at most 128) by signed activation (at most 127): two products are at most 32,512.
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
    static constexpr int ZERO_POINT_8 = 0, ZERO_POINT_4 = 8;
    static constexpr int MAX_PASS_ROWS = 4;

    struct Bytes {
        __m256i weight[2], size[2];
    };
    struct Nibbles {
        __m256i weight[2];
    };

    static ALWAYS_INLINE Bytes load_bytes(const uint8_t* from) {
        Bytes bytes;
        for (int i = 0; i < 2; ++i) {
            bytes.weight[i] = _mm256_xor_si256(load(from + 32 * i), _mm256_set1_epi8(-128));
            bytes.size[i] = _mm256_abs_epi8(bytes.weight[i]);
        }
        return bytes;
    }
    static ALWAYS_INLINE Nibbles load_nibbles(const uint8_t* from, int shift) {
        return {{nibbles(from, shift), nibbles(from + 32, shift)}};
    }
    static ALWAYS_INLINE Int add_pairs(Int sums, __m256i unsigned_bytes, __m256i signed_bytes) {
        const __m256i pairs = _mm256_maddubs_epi16(unsigned_bytes, signed_bytes);
        return sums + (Int)_mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
    }
    static ALWAYS_INLINE Ints<Avx2> dot_bytes(Ints<Avx2> sums, const Bytes& bytes, int32_t activations) {
        const __m256i four = _mm256_set1_epi32(activations);
        for (int i = 0; i < 2; ++i)
            sums.part[i] = add_pairs(sums.part[i], bytes.size[i], _mm256_sign_epi8(four, bytes.weight[i]));
        return sums;
    }
    static ALWAYS_INLINE Ints<Avx2> dot_nibbles(Ints<Avx2> sums, const Nibbles& nibbles, int32_t activations) {
        const __m256i four = _mm256_set1_epi32(activations);
        for (int i = 0; i < 2; ++i) sums.part[i] = add_pairs(sums.part[i], nibbles.weight[i], four);
        return sums;
    }
};

bool supported() { return cpu().avx2; }

}  // namespace

extern const Kernels AVX2 = {
    "avx2", "AVX2", supported, pass_rows<Avx2>, prepare_rows<Avx2>, multiply_rows<Avx2>, attend_rows<Avx2>,
};

END_TARGET
#endif
