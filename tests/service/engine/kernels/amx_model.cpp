// The AMX kernels over the model of its tiles. What surrounds the tiles needs AVX-512 with VNNI.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cmath>
#include <initializer_list>
#include <utility>

#include "amx_model.h"
#include "cpu.h"
#include "kernels.h"
#include "target.h"

TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")

#include "amx.h"

namespace {
bool supported() { return cpu().avx512_vnni; }
}  // namespace

extern const Kernels AMX_MODEL = {
    "amx_model", "AMX by a model of its tiles", supported, amx_pass_rows, prepare_for_tiles, multiply_by_tiles<AmxModel>, attend_rows<Avx512Vnni>,
};

END_TARGET
#endif
