// The instruction sets that this library is built for.
#pragma once

#include <string>

#include "kernels.h"

// That of a name. Throws std::invalid_argument where this processor lacks it or nobody knows it.
const Kernels& kernels(const std::string& name);

// Those of this processor, fastest first.
struct KernelList {
    const Kernels* const* begin_;
    const Kernels* const* end_;

    const Kernels* const* begin() const { return begin_; }
    const Kernels* const* end() const { return end_; }
};

KernelList all_kernels();
