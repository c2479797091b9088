// What this processor and its operating system offer.
#pragma once

struct Cpu {
    bool avx2 = false, avx_vnni = false, avx512_vnni = false, amx_int8 = false;
    bool dot_product = false, i8mm = false;
};

const Cpu& cpu();
