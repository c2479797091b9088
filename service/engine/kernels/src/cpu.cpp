#include "cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace {

#if defined(__x86_64__)
bool has(unsigned word, int bit) { return word >> bit & 1; }

// Linux lends the tile registers to a process that asks for them.
bool tiles_permitted() {
#if defined(__linux__)
    constexpr long REQUEST = 0x1023, TILE_DATA = 18;
    return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
#else
    return false;
#endif
}

Cpu detect() {
    Cpu found;
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return found;
    const bool fma = has(c, 12), saves_registers = has(c, 27);
    if (!fma || !saves_registers || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return found;
    unsigned saved, high;
    __asm__("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    const bool avx_saved = (saved & 0x6) == 0x6, avx512_saved = (saved & 0xe6) == 0xe6, tiles_saved = (saved & 0x60000) == 0x60000;
    found.avx2 = avx_saved && has(b, 5);
    found.avx512_vnni = avx512_saved && has(b, 16) && has(b, 17) && has(b, 30) && has(b, 31) && has(c, 11);
    const bool tiles = tiles_saved && has(d, 24) && has(d, 25);
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) found.avx_vnni = found.avx2 && has(a, 4);
    found.amx_int8 = tiles && found.avx512_vnni && tiles_permitted();
    return found;
}
#elif defined(__aarch64__) && defined(__linux__)
Cpu detect() {
    constexpr unsigned long DOT_PRODUCT = 1ul << 20, I8MM = 1ul << 13;
    Cpu found;
    found.dot_product = getauxval(AT_HWCAP) & DOT_PRODUCT;
    found.i8mm = found.dot_product && getauxval(AT_HWCAP2) & I8MM;
    return found;
}
#elif defined(__aarch64__) && defined(__APPLE__)
bool has(const char* feature) {
    int value = 0;
    size_t size = sizeof value;
    return sysctlbyname(feature, &value, &size, nullptr, 0) == 0 && value;
}

Cpu detect() {
    Cpu found;
    found.dot_product = has("hw.optional.arm.FEAT_DotProd");
    found.i8mm = found.dot_product && has("hw.optional.arm.FEAT_I8MM");
    return found;
}
#else
Cpu detect() { return {}; }
#endif

}  // namespace

const Cpu& cpu() {
    static const Cpu found = detect();
    return found;
}
