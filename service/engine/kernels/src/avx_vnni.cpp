// AVX2 with VNNI for 256 bits: processors without AVX-512.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cmath>
#include <initializer_list>
#include <utility>

#include "cpu.h"
#include "kernels.h"
#include "target.h"

TARGET("avx2,fma,avxvnni")

#include "avx2.h"
#include "attention.h"
#include "dot_products.h"
#include "product.h"
#include "rows.h"

namespace {

struct AvxVnni : Avx2Lanes {
    static constexpr int ZERO_POINT_8 = 128, ZERO_POINT_4 = 8;
    static constexpr bool WIDE_ACTIVATIONS = false;
    static constexpr int MAX_PASS_ROWS = 6;

    struct Bytes {
        __m256i weight[2];
    };

    static ALWAYS_INLINE Bytes load_bytes(const uint8_t* from) { return {{load(from), load(from + 32)}}; }
    static ALWAYS_INLINE Bytes load_nibbles(const uint8_t* from, int shift) {
        return {{nibbles(from, shift), nibbles(from + 32, shift)}};
    }
    static ALWAYS_INLINE Ints<AvxVnni> dot(Ints<AvxVnni> sums, const Bytes& bytes, int32_t activations) {
        for (int i = 0; i < 2; ++i)
            sums.part[i] = (Int)_mm256_dpbusd_avx_epi32((__m256i)sums.part[i], bytes.weight[i], _mm256_set1_epi32(activations));
        return sums;
    }
    template <int BITS, int ROWS>
    static ALWAYS_INLINE void add_block(size_t loads, const uint8_t*& values, const int32_t*& activations, Ints<AvxVnni> (&sums)[ROWS]) {
        add_dot_products<AvxVnni, BITS>(loads, values, activations, sums);
    }
};

bool supported() { return cpu().avx_vnni; }

}  // namespace

extern const Kernels AVX_VNNI = {
    "avx_vnni", "AVX-VNNI", supported, pass_rows<AvxVnni>, prepare_rows<AvxVnni>, multiply_rows<AvxVnni>, attend_rows<AvxVnni>,
};

END_TARGET
#endif
