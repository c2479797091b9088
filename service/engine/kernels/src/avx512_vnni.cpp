// AVX-512 with VNNI: sixteen columns are one register, and a weight is read as the unsigned byte that it is.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cmath>
#include <initializer_list>
#include <utility>

#include "cpu.h"
#include "kernels.h"
#include "target.h"

TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")

#include "avx512_vnni.h"
#include "attention.h"
#include "product.h"
#include "rows.h"

namespace {
bool supported() { return cpu().avx512_vnni; }
}  // namespace

extern const Kernels AVX512_VNNI = {
    "avx512_vnni", "AVX-512 VNNI", supported, pass_rows<Avx512Vnni>,
    prepare_rows<Avx512Vnni>, multiply_rows<Avx512Vnni>, attend_rows<Avx512Vnni>,
};

END_TARGET
#endif
