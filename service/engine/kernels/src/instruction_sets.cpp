#include "instruction_sets.h"

#include <stdexcept>

#if defined(__x86_64__)
extern const Kernels AMX, AVX512_VNNI, AVX_VNNI, AVX2;
#elif defined(__aarch64__)
extern const Kernels NEON_I8MM, NEON_DOT;
#endif

KernelList all_kernels() {
    static const Kernels* const all[] = {
#if defined(__x86_64__)
        &AMX, &AVX512_VNNI, &AVX_VNNI, &AVX2,
#elif defined(__aarch64__)
        &NEON_I8MM, &NEON_DOT,
#endif
        nullptr,
    };
    return {all, all + sizeof(all) / sizeof(*all) - 1};
}

const Kernels& kernels(const std::string& name) {
    for (const Kernels* kernels : all_kernels())
        if (name == kernels->name) {
            if (!kernels->supported()) throw std::invalid_argument("this processor has no " + std::string(kernels->title));
            return *kernels;
        }
    throw std::invalid_argument("there are no kernels called '" + name + "'");
}
