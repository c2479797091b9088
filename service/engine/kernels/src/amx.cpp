// AMX int8, as Intel's Xeons have it from Sapphire Rapids on.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cmath>
#include <initializer_list>
#include <utility>

#include "cpu.h"
#include "kernels.h"
#include "target.h"

TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,amx-tile,amx-int8")

#include "amx.h"
#include "amx_tiles.h"

namespace {
bool supported() { return cpu().amx_int8; }
}  // namespace

extern const Kernels AMX = {
    "amx", "AMX", supported, amx_pass_rows, prepare_for_tiles, multiply_by_tiles<AmxTiles>, attend_rows<Avx512Vnni>,
};

END_TARGET
#endif
